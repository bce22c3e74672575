"""In the place of a language model: a Pipecat service that answers from `offline_answers`, without a network."""

from datetime import datetime
from typing import Any

from pipecat.adapters.llm.base_llm_adapter import BaseLLMAdapter
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import Frame, LLMContextFrame, LLMFullResponseEndFrame, LLMFullResponseStartFrame
from pipecat.processors.aggregators.llm_context import LLMContext, standard_message_text
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.llm_service import LLMService
from pipecat.services.settings import LLMSettings
from pipecat.turns.empty_user_turn import DEFAULT_EMPTY_USER_TURN_INTERRUPTED_PROMPT

from services.runner.bots.offline_answers import answer

NOT_UNDERSTOOD = "Sorry, I did not catch that."


class _NoProvider(BaseLLMAdapter[Any]):  # type: ignore[no-untyped-call]  # its check of subclasses
    """Gives contexts to nobody. The one that a service gets by itself imports all of OpenAI's, a third of a second."""

    @property
    def id_for_llm_specific_messages(self) -> str:
        """Whose messages of a context are for this service alone: nobody's."""
        return "offline"

    async def get_llm_invocation_params(self, context: LLMContext, **_: Any) -> Any:
        """What a provider would be called with."""
        return {"messages": self.get_messages(context)}

    def to_provider_tools_format(self, _: ToolsSchema) -> list[Any]:
        """What a provider would be told of the tools."""
        return []

    def get_messages_for_logging(self, context: LLMContext) -> list[dict[str, Any]]:
        """What Pipecat may write into its own log."""
        return [dict(message) for message in context.get_messages() if isinstance(message, dict)]


class OfflineLLMService(LLMService[Any]):
    """Answers the last message of the context. It calls no functions, and follows no instructions."""

    adapter_class = _NoProvider

    def __init__(self, *, name_of_bot: str = "Pipefleet's assistant", **kwargs: Any) -> None:
        """Build the service.

        Args:
            name_of_bot: Who it says that it is.
            **kwargs: As for `LLMService`.
        """
        settings = LLMSettings(
            model="offline", system_instruction=None, temperature=None, max_tokens=None, top_p=None, top_k=None,
            frequency_penalty=None, presence_penalty=None, seed=None, filter_incomplete_user_turns=False,
            user_turn_completion_config=None,
        )  # fmt: skip
        super().__init__(settings=settings, **kwargs)
        self._name_of_bot = name_of_bot

    def can_generate_metrics(self) -> bool:
        """Tell Pipecat that time to first byte and processing time are measured."""
        return True

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Answer a context; pass on everything else."""
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        await self.push_frame(LLMFullResponseStartFrame())
        await self.start_processing_metrics()
        await self.start_ttfb_metrics()
        text = self._answer(frame.context)
        await self.stop_ttfb_metrics()
        await self._push_llm_text(text)
        await self.stop_processing_metrics()
        await self.push_frame(LLMFullResponseEndFrame())

    def _answer(self, context: LLMContext) -> str:
        message = context.get_messages()[-1]
        text = standard_message_text(message)
        if text == DEFAULT_EMPTY_USER_TURN_INTERRUPTED_PROMPT:
            return NOT_UNDERSTOOD
        return answer(text, name=self._name_of_bot, now=datetime.now().astimezone())
