"""Names of the semantic conventions for generative AI, as opentelemetry-semantic-conventions 0.66b2 has them.

Written out, since that package marks its own as moved (https://github.com/open-telemetry/semantic-conventions-genai)
and may drop them; a test compares.
"""

from __future__ import annotations

OPERATION_NAME = "gen_ai.operation.name"
PROVIDER_NAME = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_STREAM = "gen_ai.request.stream"
RESPONSE_MODEL = "gen_ai.response.model"
TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105 - a name
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens"
CACHE_CREATION_TOKENS = "gen_ai.usage.cache_creation.input_tokens"
REASONING_TOKENS = "gen_ai.usage.reasoning.output_tokens"

TOKEN_USAGE = "gen_ai.client.token.usage"  # noqa: S105 - a name
OPERATION_DURATION = "gen_ai.client.operation.duration"

#: What the conventions ask for: powers of four, and one hundredth of a second doubled.
TOKEN_BUCKETS = tuple(4**power for power in range(14))
DURATION_BUCKETS = tuple(round(0.01 * 2**power, 2) for power in range(14))

#: The ledger's dialects that are no chat.
OPERATIONS = {"completions": "text_completion", "embeddings": "embeddings"}
#: Providers that have another name there than here.
PROVIDERS = {
    "bedrock": "aws.bedrock",
    "vertex": "gcp.vertex_ai",
    "mistral": "mistral_ai",
    "xai": "x_ai",
    "gemini": "gcp.gemini",
}
