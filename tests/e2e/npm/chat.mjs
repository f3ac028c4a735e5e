// Chats, streams and uses tools through the gateway; prints what happened as one JSON object.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.GATEWAY_URL + "/v1", apiKey: process.env.GATEWAY_API_KEY, maxRetries: 0 });
const model = "sonnet";

const plain = await client.chat.completions.create({ model, messages: [{ role: "user", content: "Hello from npm" }] });

let streamed = "";
let chunks = 0;
let usage = null;
const stream = await client.chat.completions.create({
  model, stream: true, stream_options: { include_usage: true },
  messages: [{ role: "user", content: "Hello again from npm" }],
});
for await (const chunk of stream) {
  chunks += 1;
  streamed += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}

const tools = [{
  type: "function",
  function: {
    name: "get_weather", description: "The weather in a city",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
}];
const messages = [{ role: "user", content: "use the tool get_weather" }];
const runner = client.chat.completions.stream({ model, messages, tools });
const called = (await runner.finalChatCompletion()).choices[0];
messages.push(called.message);
for (const call of called.message.tool_calls) {
  JSON.parse(call.function.arguments);
  messages.push({ role: "tool", tool_call_id: call.id, content: "sunny, 21 degrees" });
}
const final = await client.chat.completions.create({ model, messages, tools });

let refused = null;
try {
  await client.chat.completions.create({ model: "no-such-model", messages: [{ role: "user", content: "x" }] });
} catch (error) {
  refused = { status: error.status, code: error.code, type: error.constructor.name };
}
const models = [];
for await (const entry of client.models.list()) models.push(entry.id);

console.log(JSON.stringify({
  plain: plain.choices[0].message.content, finish: plain.choices[0].finish_reason,
  streamed, chunks, usage,
  tool: called.message.tool_calls[0].function, tool_finish: called.finish_reason,
  final: final.choices[0].message.content, refused, models,
}));
