// The two tools of the JavaScript programs.
import { readFileSync, writeFileSync } from "node:fs";

const text = { type: "string" };
export const schemas = {
  read_file: { type: "object", properties: { path: text }, required: ["path"], additionalProperties: false },
  write_file: {
    type: "object",
    properties: { path: text, content: text },
    required: ["path", "content"],
    additionalProperties: false,
  },
};
export const tools = {
  read_file: ({ path }) => readFileSync(path, "utf8"),
  write_file: ({ path, content }) => {
    writeFileSync(path, content);
    return `wrote ${content.length} characters`;
  },
};
export const { GATEWAY_URL, GATEWAY_API_KEY, MODEL, PROMPT, DIALECT } = process.env;
