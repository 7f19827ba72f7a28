"""Each drill by its name."""

from gateway.benchmark.drills.cost import Cost
from gateway.benchmark.drills.drill import Drill, Measure, Work
from gateway.benchmark.drills.elastic import Elastic
from gateway.benchmark.drills.moving import Moving
from gateway.benchmark.drills.storm import Storm
from gateway.benchmark.drills.waking import Waking
from gateway.benchmark.load.plan import Plan


def begin(number: int, plan: Plan, drill: Drill, measure: Measure) -> Work:
    """The drill of a benchmark."""
    actor = f"benchmark {number}"
    match drill.kind:
        case "move":
            return Moving(plan, drill, actor, measure)
        case "storm":
            return Storm(plan, drill, actor, measure)
        case "elastic":
            return Elastic(number, plan, drill, actor, measure)
        case "cost":
            return Cost(plan, drill, actor, measure)
        case _:
            return Waking(plan, drill, actor, measure)
