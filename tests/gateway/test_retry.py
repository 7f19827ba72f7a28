"""A connection that dies before the first byte is tried once more; nothing after it ever is."""

from tests.gateway.conftest import World
from tests.gateway.engines import Engine, Exchange


async def hang_up(exchange: Exchange) -> None:
    exchange.writer.close()


async def test_a_connection_that_died_before_the_answer_is_replaced(world: World, run, engine: Engine) -> None:
    engine.behaviours = [hang_up]
    world.serve("m", engine)
    assert (await (await run()).chat("m")).status_code == 200
    assert len(engine.seen) == 2


async def test_the_second_try_goes_to_another_replica(world: World, run, engine: Engine, other_engine: Engine) -> None:
    engine.behaviour = other_engine.behaviour
    engine.behaviours = [hang_up]
    other_engine.behaviours = []
    world.serve("m", engine, other_engine)
    gateway = await run()
    for _ in range(2):
        assert (await gateway.chat("m")).status_code == 200
    assert (len(engine.seen), len(other_engine.seen)) in {(1, 2), (1, 1)}


async def test_two_dead_connections_are_a_bad_gateway(world: World, run, engine: Engine) -> None:
    engine.behaviour = hang_up
    world.serve("m", engine)
    gateway = await run()
    answer = await gateway.chat("m")
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "engine_unreachable")
    assert (len(engine.seen), gateway.leases()) == (2, 0)


async def test_a_kept_connection_the_engine_closed_costs_nothing(world: World, run, engine: Engine) -> None:
    async def answer_and_leave(exchange: Exchange) -> None:
        await exchange.answer(b"{}")
        exchange.writer.close()

    engine.behaviour = answer_and_leave
    world.serve("m", engine)
    gateway = await run()
    assert [(await gateway.chat("m")).status_code for _ in range(5)] == [200] * 5


async def test_half_a_head_is_not_tried_again(world: World, run, engine: Engine) -> None:
    async def half(exchange: Exchange) -> None:
        exchange.writer.write(b"HTTP/1.1 200 OK\r\ncontent-")
        await exchange.writer.drain()
        exchange.writer.close()

    engine.behaviour = half
    world.serve("m", engine)
    answer = await (await run()).chat("m")
    assert (answer.status_code, len(engine.seen)) == (502, 1)


async def test_an_answer_that_is_not_http_is_a_bad_gateway(world: World, run, engine: Engine) -> None:
    async def garbage(exchange: Exchange) -> None:
        exchange.writer.write(b"garbage\r\n\r\n")
        await exchange.writer.drain()
        await exchange.until_hung_up()

    engine.behaviour = garbage
    world.serve("m", engine)
    answer = await (await run()).chat("m")
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "engine_protocol_error")
