// The AI SDK of Vercel: its own loop of tools. DIALECT: chat, responses or messages, each a package of its own.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { isStepCount, jsonSchema, streamText, tool } from "ai";
import { DIALECT, GATEWAY_API_KEY, GATEWAY_URL, MODEL, PROMPT, schemas, tools } from "./tools.mjs";

const at = { baseURL: `${GATEWAY_URL}/v1`, apiKey: GATEWAY_API_KEY };
const model = {
  chat: () => createOpenAICompatible({ ...at, name: "gateway", includeUsage: true })(MODEL),
  responses: () => createOpenAI(at).responses(MODEL),
  messages: () => createAnthropic(at)(MODEL),
}[DIALECT]();
const result = streamText({
  model,
  prompt: PROMPT,
  tools: Object.fromEntries(
    Object.entries(schemas).map(([name, schema]) => [
      name,
      tool({ inputSchema: jsonSchema(schema), execute: tools[name] }),
    ]),
  ),
  stopWhen: isStepCount(5),
  providerOptions: {
    anthropic: { thinking: { type: "adaptive" }, cacheControl: { type: "ephemeral" } },
    openai: { store: false, include: ["reasoning.encrypted_content"] },
  },
  onError: ({ error }) => {
    throw error;
  },
});
console.log(await result.text);
