// The official OpenAI SDK for JavaScript. DIALECT: chat or responses.
import OpenAI from "openai";
import { DIALECT, GATEWAY_API_KEY, GATEWAY_URL, MODEL, PROMPT, schemas, tools } from "./tools.mjs";

const client = new OpenAI({ baseURL: `${GATEWAY_URL}/v1`, apiKey: GATEWAY_API_KEY });

async function chat() {
  const offered = Object.entries(schemas).map(([name, parameters]) => ({
    type: "function",
    function: { name, parameters },
  }));
  const messages = [{ role: "user", content: PROMPT }];
  for (;;) {
    const stream = client.chat.completions.stream({ model: MODEL, messages, tools: offered });
    const { message } = (await stream.finalChatCompletion()).choices[0];
    messages.push(message);
    if (!message.tool_calls?.length) return message.content;
    for (const { id, function: called } of message.tool_calls) {
      const content = tools[called.name](JSON.parse(called.arguments));
      messages.push({ role: "tool", tool_call_id: id, content });
    }
  }
}

async function responses() {
  const offered = Object.entries(schemas).map(([name, parameters]) => ({
    type: "function",
    name,
    parameters,
    strict: true,
  }));
  const input = [{ role: "user", content: PROMPT }];
  for (;;) {
    const stream = client.responses.stream({
      model: MODEL,
      input,
      tools: offered,
      store: false,
      include: ["reasoning.encrypted_content"],
    });
    const response = await stream.finalResponse();
    input.push(...response.output.map(({ parsed_arguments, ...item }) => item));
    const calls = response.output.filter((item) => item.type === "function_call");
    if (!calls.length) return response.output_text;
    for (const { call_id, name, arguments: given } of calls)
      input.push({ type: "function_call_output", call_id, output: tools[name](JSON.parse(given)) });
  }
}

console.log(await { chat, responses }[DIALECT]());
