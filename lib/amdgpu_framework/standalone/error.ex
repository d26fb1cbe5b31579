defmodule AMDGPUFramework.Standalone.Error do
  @moduledoc "Why a standalone broker could not be started, or why it ended; the message says what to do."

  defexception [:message]

  @type t :: %__MODULE__{message: String.t()}
end
