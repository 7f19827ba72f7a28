import { expect, it } from "vitest";
import { Events } from "./stream";

const STREAM =
  ': waiting for the model\r\n\r\ndata: {"a":1}\n\nevent: refused\ndata: {"b":\ndata: 2}\n\ndata: [DONE]\n\n';

it.each([1, 3, 7, 1000])("reads the same events from pieces of %i characters", (size) => {
  const events = new Events();
  const pieces = STREAM.match(new RegExp(`[^]{1,${size}}`, "g")) ?? [];
  const found = pieces.flatMap((piece) => events.read(piece));
  expect(found.map((one) => [one.event, one.data, one.comment])).toEqual([
    ["message", "", "waiting for the model"],
    ["message", '{"a":1}', ""],
    ["refused", '{"b":\n2}', ""],
    ["message", "[DONE]", ""],
  ]);
});
