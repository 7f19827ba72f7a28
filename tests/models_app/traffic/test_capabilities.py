"""What /v1/models says of a model is the model's own."""

import pytest

from models_app.traffic.capabilities import CHAT, EMBEDDINGS, RANKING, SPEECH, capabilities
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("architecture", "source", "flags", "expected"),
    [
        ("LlamaForCausalLM", "org/llama", [], CHAT),
        ("LlamaForCausalLM", "org/llama", ["--enable-auto-tool-choice"], (*CHAT, "tools")),
        ("LlamaForCausalLM", "org/llama", ["--reasoning-parser", "qwen3"], (*CHAT, "reasoning")),
        ("Qwen3ForCausalLM", "org/q", ["--runner", "pooling", "--convert", "embed"], EMBEDDINGS),
        ("Qwen3ForCausalLM", "org/q", ["--convert=classify"], RANKING),
        ("Qwen3ForCausalLM", "org/q", ["--runner=pooling"], EMBEDDINGS),
        ("Qwen3ForSequenceClassification", "org/q", [], RANKING),
        ("BertModel", "org/bert", [], EMBEDDINGS),
        ("UltravoxModel", "org/ultravox", [], CHAT),
        ("WhisperForConditionalGeneration", "org/w", [], SPEECH),
        ("Gemma3ForConditionalGeneration", "org/g", [], (*CHAT, "vision")),
        ("Qwen2AudioForConditionalGeneration", "org/a", [], CHAT),
        ("VoxtralForConditionalGeneration", "org/v", [], (*CHAT, "transcription")),
        ("", "BAAI/bge-m3", [], EMBEDDINGS),
        ("", "BAAI/bge-reranker-v2-m3", [], RANKING),
        ("", "Qwen/Qwen3-Embedding-0.6B", [], EMBEDDINGS),
        ("", "openai/whisper-large-v3", [], SPEECH),
        ("", "Qwen/Qwen2.5-VL-7B-Instruct", [], (*CHAT, "vision")),
        ("", "acme/tiny-1b", [], CHAT),
    ],
)
def test_a_model_is_good_for(architecture: str, source: str, flags: list[str], expected: tuple[str, ...]) -> None:
    deployment = factories.deployment(extra_args=flags)
    deployment.model.source = source
    deployment.model.facts = {"architectures": [architecture]} if architecture else {}
    assert capabilities(deployment) == expected
