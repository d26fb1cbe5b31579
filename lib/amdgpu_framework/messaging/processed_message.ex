defmodule AMDGPUFramework.Messaging.ProcessedMessage do
  @moduledoc """
  What became of one message in GPU processing.

    * `original_message_id` - the `AMDGPUFramework.Messaging.MessageId` of the input
    * `processed_data` - the result as bytes, in the pipeline's `output_format`; `nil` where it failed
    * `error` - why it failed, or `nil`
    * `metadata` - `gpu_device_id` (such as `"cpu:0"`), `backend` (`:cpu`, `:hip` or `:cuda`), `processing_time_ms` and
      `memory_used_mb` of the batch it was computed in, and that batch's `batch_size`

  The owner of the consumer gets them in lists, `{:gpu_processed_messages, consumer_id, [processed]}`; the PubSub topic
  `"gpu_processed_messages:<consumer_id>"` carries each as `{:gpu_processed_message, processed}`.
  Both are at most once: the pipeline's output topic is the place that loses nothing.
  """

  alias AMDGPUFramework.Messaging.MessageId

  defstruct [:original_message_id, :processed_data, :error, metadata: %{}]

  @type t :: %__MODULE__{
          original_message_id: MessageId.t(),
          processed_data: binary | nil,
          error: String.t() | nil,
          metadata: %{
            optional(:gpu_device_id) => String.t(),
            optional(:backend) => :cpu | :hip | :cuda,
            optional(:processing_time_ms) => float,
            optional(:memory_used_mb) => float,
            optional(:batch_size) => pos_integer
          }
        }
end
