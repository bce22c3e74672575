"""Functions for the assistant, as a file of `TOOLS` has them."""

from pipecat.services.llm_service import FunctionCallParams


async def find_table(params: FunctionCallParams, guests: int) -> None:
    """Find a free table.

    Args:
        params: The call.
        guests: How many people want to sit at it.
    """
    await params.result_callback({"table": 40 + guests})
