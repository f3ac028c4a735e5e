// The official Anthropic SDK for JavaScript.
import Anthropic from "@anthropic-ai/sdk";
import { GATEWAY_API_KEY, GATEWAY_URL, MODEL, PROMPT, schemas, tools } from "./tools.mjs";

const client = new Anthropic({ baseURL: GATEWAY_URL, apiKey: GATEWAY_API_KEY });
const cached = { cache_control: { type: "ephemeral" } };
const offered = Object.entries(schemas).map(([name, input_schema]) => ({ name, input_schema }));
Object.assign(offered.at(-1), cached);
const messages = [{ role: "user", content: PROMPT }];
for (;;) {
  const stream = client.messages.stream({
    model: MODEL,
    max_tokens: 16000,
    messages,
    tools: offered,
    thinking: { type: "adaptive" },
  });
  const { content } = await stream.finalMessage();
  messages.push({ role: "assistant", content });
  const calls = content.filter((block) => block.type === "tool_use");
  if (!calls.length) {
    console.log(content.map((block) => block.text ?? "").join(""));
    break;
  }
  const results = calls.map(({ id, name, input }) => ({
    type: "tool_result",
    tool_use_id: id,
    content: tools[name](input),
  }));
  Object.assign(results.at(-1), cached);
  messages.push({ role: "user", content: results });
}
