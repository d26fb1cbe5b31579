defmodule AMDGPUFramework.Messaging.MessageId do
  @moduledoc """
  Where a message is stored: ledger, entry, partition and place in its batch, and the topic it belongs to.

  Sending gives one, every `AMDGPUFramework.Messaging.Message` carries one, and acknowledging, seeking and
  comparing take it. Because it knows its topic, an acknowledgement on a consumer of many topics finds its way.
  Read it through the functions of this module: the messages of one entry share `entry`.

      iex> id = %AMDGPUFramework.Messaging.MessageId{entry: {12, 3, -1, 10, "persistent://public/default/t"}, batch_index: 4}
      iex> "\#{id}"
      "12:3:-1:4"
      iex> inspect(id)
      "#MessageId<12:3:-1:4>"
  """

  alias AMDGPUFramework.Messaging.Native

  @enforce_keys [:entry]
  defstruct entry: nil, batch_index: -1

  @type t :: %__MODULE__{
          entry:
            {ledger_id :: non_neg_integer, entry_id :: non_neg_integer, partition :: integer,
             batch_size :: non_neg_integer, topic :: String.t()},
          batch_index: integer
        }

  @doc "The ledger the entry is in."
  @spec ledger_id(t) :: non_neg_integer
  def ledger_id(%__MODULE__{entry: {ledger, _, _, _, _}}), do: ledger

  @doc "The entry within its ledger."
  @spec entry_id(t) :: non_neg_integer
  def entry_id(%__MODULE__{entry: {_, entry, _, _, _}}), do: entry

  @doc "The partition of the topic; -1 where the topic is not partitioned."
  @spec partition(t) :: integer
  def partition(%__MODULE__{entry: {_, _, partition, _, _}}), do: partition

  @doc "How many messages the entry has; 0 where it is not a batch."
  @spec batch_size(t) :: non_neg_integer
  def batch_size(%__MODULE__{entry: {_, _, _, size, _}}), do: size

  @doc "The full name of the topic, for a partitioned topic that of the partition."
  @spec topic(t) :: String.t()
  def topic(%__MODULE__{entry: {_, _, _, _, topic}}), do: topic

  @doc "The place of the message in its batch; -1 where the entry is not a batch."
  @spec batch_index(t) :: integer
  def batch_index(%__MODULE__{batch_index: index}), do: index

  @doc """
  Orders two ids as other Pulsar clients do: by ledger, entry, partition and place in the batch.

  The order says which message was stored first only for ids of one topic (or partition). With it, ids sort:

      iex> alias AMDGPUFramework.Messaging.MessageId
      iex> first = %MessageId{entry: {7, 1, -1, 2, "t"}, batch_index: 0}
      iex> second = %MessageId{entry: {7, 1, -1, 2, "t"}, batch_index: 1}
      iex> MessageId.compare(first, second)
      :lt
      iex> Enum.max([first, second], MessageId) == second
      true
  """
  @spec compare(t, t) :: :lt | :eq | :gt
  def compare(%__MODULE__{} = a, %__MODULE__{} = b) do
    case {place(a), place(b)} do
      {same, same} -> :eq
      {pa, pb} when pa < pb -> :lt
      _ -> :gt
    end
  end

  @doc """
  The id as bytes, as other Pulsar clients write it (`MessageId.toByteArray()` in Java): to be kept or handed on.

      binary = MessageId.to_binary(message.message_id)

  The topic is no part of it. Raises `ArgumentError` for a struct that is no id.
  """
  @spec to_binary(t) :: binary
  def to_binary(%__MODULE__{} = id) do
    case Native.message_id_to_binary(id) do
      binary when is_binary(binary) -> binary
      {:error, _} -> raise ArgumentError, "not a message id: #{inspect(id)}"
    end
  end

  @doc """
  Reads an id that `to_binary/1` or another Pulsar client wrote.

  Give the topic to acknowledge with it on a consumer of several topics or partitions.

      {:ok, id} = MessageId.from_binary(binary, "persistent://public/default/orders")

  Errors: `{:error, :invalid_message_id}`.
  """
  @spec from_binary(binary, String.t()) :: {:ok, t} | {:error, :invalid_message_id}
  def from_binary(binary, topic \\ "")

  def from_binary(binary, topic) when is_binary(binary) and is_binary(topic),
    do: Native.message_id_from_binary(binary, topic)

  def from_binary(_binary, topic) when is_binary(topic), do: {:error, :invalid_message_id}

  defp place(%__MODULE__{entry: {ledger, entry, partition, _, _}, batch_index: index}),
    do: {ledger, entry, partition, index}

  defimpl String.Chars do
    def to_string(%{entry: {ledger, entry, partition, _, _}, batch_index: index}),
      do: "#{ledger}:#{entry}:#{partition}:#{index}"
  end

  defimpl Inspect do
    def inspect(%{entry: {_, _, _, _, _}} = id, _opts), do: "#MessageId<#{id}>"
    def inspect(id, opts), do: Inspect.Any.inspect(id, opts)
  end
end
