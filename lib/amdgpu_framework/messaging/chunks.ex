defmodule AMDGPUFramework.Messaging.Chunks do
  @moduledoc false
  # A list of messages as several native calls of a bounded size, and their results as one.

  # What one native call takes: it has to return within a fraction of a millisecond.
  @messages 500
  @bytes 4 * 1_048_576

  @type entry :: binary | nil | {binary | nil, map}
  @type result :: {:ok, list} | {:error, {reason :: term, partial :: list}}

  @doc """
  Cuts a list of entries, in order, with the length of each part. An entry above the bound in bytes is a part alone.

      iex> AMDGPUFramework.Messaging.Chunks.split(["a", nil, {"b", %{key: "k"}}])
      [{["a", nil, {"b", %{key: "k"}}], 3}]
      iex> AMDGPUFramework.Messaging.Chunks.split([])
      []
  """
  @spec split([entry]) :: [{[entry], pos_integer}]
  def split([]), do: []

  def split(entries) do
    {chunk, count, rest} = take(entries, [], 0, 0)
    [{chunk, count} | split(rest)]
  end

  @doc "The result of a part that was not sent."
  @spec refused(term, pos_integer) :: result
  def refused(reason, count), do: {:error, {reason, List.duplicate({:error, reason}, count)}}

  @doc """
  The results of the parts as that of the list. One failure makes it a failure, with a result for each message.

      iex> alias AMDGPUFramework.Messaging.Chunks
      iex> Chunks.merge([{:ok, [:id1, :id2]}, {:ok, [:id3]}])
      {:ok, [:id1, :id2, :id3]}
      iex> Chunks.merge([{:ok, [:id1]}, Chunks.refused(:queue_full, 2)])
      {:error, {:queue_full, [{:ok, :id1}, {:error, :queue_full}, {:error, :queue_full}]}}
  """
  @spec merge([result]) :: result
  def merge(results) do
    case Enum.find(results, &match?({:error, _}, &1)) do
      nil -> {:ok, Enum.flat_map(results, fn {:ok, ids} -> ids end)}
      {:error, {reason, _partial}} -> {:error, {reason, Enum.flat_map(results, &partial/1)}}
    end
  end

  defp partial({:ok, ids}), do: Enum.map(ids, &{:ok, &1})
  defp partial({:error, {_reason, partial}}), do: partial

  defp take([], chunk, count, _bytes), do: {Enum.reverse(chunk), count, []}

  defp take([entry | rest] = entries, chunk, count, bytes) do
    bytes = bytes + payload_size(entry)

    if count > 0 and (count == @messages or bytes > @bytes),
      do: {Enum.reverse(chunk), count, entries},
      else: take(rest, [entry | chunk], count + 1, bytes)
  end

  defp payload_size({payload, _opts}), do: payload_size(payload)
  defp payload_size(nil), do: 0
  defp payload_size(payload), do: byte_size(payload)
end
