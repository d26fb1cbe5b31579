defmodule AMDGPUFramework.Messaging.Message do
  @moduledoc """
  A message as a consumer's owner receives it, in `{:pulsar_messages, consumer_id, [message]}`.

    * `payload` - the bytes that were sent; `nil` is a tombstone (on a compacted topic: "the key is gone")
    * `message_id` - an `AMDGPUFramework.Messaging.MessageId`; acknowledge with it, or with the message
    * `topic` - the full topic name, with the partition's suffix where there are partitions
    * `key`, `ordering_key` - as sent, or `nil`
    * `properties` - a map of strings
    * `publish_time` - when the producer sent it, in Unix milliseconds
    * `event_time` - the sender's own time in Unix milliseconds, or `nil`
    * `redelivery_count` - how often the broker has delivered it before
    * `producer_name`, `sequence_id` - who sent it, and its number there
    * `schema_version` - the version of the broker's schema, or `nil`
  """

  alias AMDGPUFramework.Messaging.MessageId

  defstruct [
    :payload,
    :message_id,
    :topic,
    :key,
    :ordering_key,
    :publish_time,
    :event_time,
    :producer_name,
    :schema_version,
    properties: %{},
    redelivery_count: 0,
    sequence_id: 0
  ]

  @type t :: %__MODULE__{
          payload: binary | nil,
          message_id: MessageId.t(),
          topic: String.t(),
          key: String.t() | nil,
          ordering_key: binary | nil,
          properties: %{optional(String.t()) => String.t()},
          publish_time: integer,
          event_time: integer | nil,
          redelivery_count: non_neg_integer,
          producer_name: String.t(),
          sequence_id: integer,
          schema_version: binary | nil
        }

  @doc """
  A copy that does not hold on to the entry the message came in.

  The payloads of a batch are slices of one buffer: a process that keeps one small message keeps the buffer of
  its whole batch. Copy what is kept for long; what is handled and dropped needs no copy.

      iex> message = %AMDGPUFramework.Messaging.Message{payload: "data", key: nil}
      iex> AMDGPUFramework.Messaging.Message.copy(message) == message
      true
  """
  @spec copy(t) :: t
  def copy(%__MODULE__{} = message) do
    %{
      message
      | payload: copy_binary(message.payload),
        key: copy_binary(message.key),
        ordering_key: copy_binary(message.ordering_key),
        schema_version: copy_binary(message.schema_version),
        properties:
          Map.new(message.properties, fn {key, value} ->
            {copy_binary(key), copy_binary(value)}
          end)
    }
  end

  defp copy_binary(nil), do: nil
  defp copy_binary(binary), do: :binary.copy(binary)
end
