defmodule AMDGPUFramework.Messaging.Error do
  @moduledoc """
  Every reason that a function of this library gives in `{:error, reason}`.

  Nothing raises for what the network or the broker did; `message/1` turns a reason into a sentence.

  | Reason | Meaning | What to do |
  |---|---|---|
  | `:producer_not_found`, `:consumer_not_found`, `:not_found` | no open producer or consumer has this id | create it; it closes with its owner |
  | `{:already_exists, id}` | the id is taken: ids are unique in the VM | choose another, or close the first |
  | `:manager_not_running` | no manager runs under this name | put `PulsarManager` into the supervision tree |
  | `{:invalid_option, key, value, allowed}` | a value that cannot be used, with what is allowed; nothing was done | correct it |
  | `{:validation_failed, errors}` | a message lacks what its type requires; nothing was sent | correct it |
  | `:producer_creation_timeout`, `:consumer_creation_timeout`, `:gpu_processing_start_timeout` | no answer in time (30 s); what still opens later is closed | try again |
  | `:queue_full` | the producer's bounds are reached; nothing was sent | wait, or send with `block: true` |
  | `:send_timeout` | not confirmed in time: the outcome is unknown | send again where twice is better than never |
  | `:duplicate` | the broker has this sequence id already; not stored again | nothing |
  | `:message_too_large` | more bytes, after compression, than the broker takes in a message, or more than 128 MiB before it | send less at once |
  | `:topic_terminated` | the topic takes no more messages | send elsewhere |
  | `:timeout` | an answer of the broker did not come in time | try again |
  | `:closed` | the producer, consumer or client is closed | create a new one |
  | `:not_allowed` | the subscription type or flow does not permit it (`ack_cumulative` on shared, `request` on `flow: :ack`) | see the function |
  | `:invalid_message_id` | the bytes are no message id | |
  | `:gpu_processing_not_enabled` | the manager was started with `gpu_processing: [enabled: false]` | enable it |
  | `:gpu_processing_not_started` | the consumer is not being processed | |
  | `:queue_submission_failed` | the device's queue did not take the work | try again |
  | `{:unsupported_processing_type, type}`, `{:unsupported_output, type}` | known, and not part of this version | choose another |
  | `{:broker, code, text}` | the broker refused: `:authorization_error`, `:consumer_busy`, `:topic_not_found`, … | as its text says |
  | `{:connect, text}` | the broker cannot be reached | check the address and the broker |
  | `{:disconnected, text}` | the connection was lost while the answer was awaited | try again |
  | `{:compression, text}` | the payload could not be compressed | send without compression |
  | `{:device, text}` | a device could not be started | as its text says |
  | `:internal_error` | a fault of this library | report it, with the log |
  | `{:protocol, text}` | an answer that is not understood | report it |
  | `{:json, text}` | not JSON | |
  | `{:native_library, text}` | the native library is not there | `mix compile` |

  A list is answered with `{:error, {reason, partial}}`: `partial` has one `{:ok, id}` or `{:error, reason}` a message, in order.
  """

  @typedoc "The reason in `{:error, reason}`."
  @type reason ::
          :producer_not_found
          | :consumer_not_found
          | :not_found
          | {:already_exists, String.t()}
          | :manager_not_running
          | {:invalid_option, key :: atom | String.t() | [atom], value :: term,
             allowed :: String.t()}
          | {:validation_failed, {:missing_field, atom} | term}
          | :producer_creation_timeout
          | :consumer_creation_timeout
          | :gpu_processing_start_timeout
          | :queue_full
          | :send_timeout
          | :duplicate
          | :message_too_large
          | :topic_terminated
          | :timeout
          | :closed
          | :not_allowed
          | :invalid_message_id
          | :gpu_processing_not_enabled
          | :gpu_processing_not_started
          | :queue_submission_failed
          | {:unsupported_processing_type, String.t()}
          | {:unsupported_output, String.t()}
          | {:broker, code :: atom, text :: String.t()}
          | {:connect, String.t()}
          | {:disconnected, String.t()}
          | {:compression, String.t()}
          | {:device, String.t()}
          | :internal_error
          | {:protocol, String.t()}
          | {:json, String.t()}
          | {:native_library, String.t()}

  @sentences %{
    producer_not_found: "no open producer has this id",
    consumer_not_found: "no open consumer has this id",
    not_found: "no open producer or consumer has this id",
    manager_not_running: "no PulsarManager runs under this name",
    producer_creation_timeout: "the producer was not created in time",
    consumer_creation_timeout: "the consumer was not created in time",
    gpu_processing_start_timeout: "GPU processing was not started in time",
    queue_full: "the producer's queue is full; nothing was sent",
    send_timeout: "the message was not confirmed in time; whether it is stored is unknown",
    duplicate: "the broker has a message with this sequence id already",
    message_too_large: "the message is larger than the broker allows",
    internal_error: "a fault of this library; the log has more",
    topic_terminated: "the topic is terminated and takes no more messages",
    timeout: "the answer did not come in time",
    closed: "the producer, consumer or client is closed",
    not_allowed: "the consumer's subscription type or flow does not permit this",
    invalid_message_id: "the bytes are not a message id",
    gpu_processing_not_enabled: "GPU processing is disabled in the manager's configuration",
    gpu_processing_not_started: "GPU processing is not running for this consumer",
    queue_submission_failed: "the device's queue did not take the work"
  }

  @doc """
  A sentence for a reason.

      iex> alias AMDGPUFramework.Messaging.Error
      iex> Error.message(:queue_full)
      "the producer's queue is full; nothing was sent"
      iex> Error.message({:invalid_option, :batch_size, 0, "an integer of at least 1"})
      "batch_size is 0; allowed: an integer of at least 1"
      iex> Error.message({:validation_failed, {:missing_field, :user_id}})
      "the message is not valid: user_id is missing"
      iex> Error.message({:broker, :consumer_busy, "Exclusive consumer is already connected"})
      "the broker refused (consumer_busy): Exclusive consumer is already connected"
  """
  @spec message(reason | {reason, partial :: list} | term) :: String.t()
  def message(reason) when is_atom(reason), do: Map.get(@sentences, reason, inspect(reason))
  def message({:already_exists, id}), do: "#{inspect(id)} is taken: ids are unique in the VM"

  def message({:invalid_option, key, value, allowed}),
    do: "#{key |> List.wrap() |> Enum.join(".")} is #{inspect(value)}; allowed: #{allowed}"

  def message({:validation_failed, {:missing_field, field}}),
    do: "the message is not valid: #{field} is missing"

  def message({:validation_failed, errors}), do: "the message is not valid: #{inspect(errors)}"

  def message({:unsupported_processing_type, type}),
    do: "the processing type #{type} is not part of this version"

  def message({:unsupported_output, type}), do: "the output #{type} is not part of this version"
  def message({:broker, code, text}), do: "the broker refused (#{code}): #{text}"
  def message({:connect, text}), do: "the broker cannot be reached: #{text}"
  def message({:disconnected, text}), do: "the connection was lost: #{text}"
  def message({:compression, text}), do: "the payload could not be compressed: #{text}"
  def message({:device, text}), do: "the device could not be started: #{text}"

  def message({:protocol, text}), do: "the broker's answer is not understood: #{text}"
  def message({:json, text}), do: "not JSON: #{text}"
  def message({:native_library, text}), do: text

  def message({reason, partial}) when is_list(partial) do
    failed = Enum.count(partial, &match?({:error, _}, &1))
    "#{failed} of #{length(partial)} messages failed: #{message(reason)}"
  end

  def message(reason), do: inspect(reason)
end
