defmodule AMDGPUFramework.Messaging.Chunks do
  @moduledoc false
  # A list of messages as several native calls of a bounded size, and their results as one.

  # What one native call takes: it has to return within a fraction of a millisecond. It copies payloads, except one that
  # comes alone; options are decoded one by one.
  @weight 500
  @bytes 256 * 1024
  @alone 64 * 1024

  @type entry :: binary | nil | {binary | nil, map}
  @type result :: {:ok, list} | {:error, {reason :: term, partial :: list}}

  @doc """
  Cuts a list of entries, in order, with the length of each part. A large entry is a part alone.

      iex> AMDGPUFramework.Messaging.Chunks.split(["a", nil, {"b", %{key: "k"}}])
      [{["a", nil, {"b", %{key: "k"}}], 3}]
      iex> AMDGPUFramework.Messaging.Chunks.split([])
      []
  """
  @spec split([entry]) :: [{[entry], pos_integer}]
  def split([]), do: []

  def split(entries) do
    {chunk, count, rest} = take(entries, [], 0, 0, 0)
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

  defp take([], chunk, count, _weight, _bytes), do: {Enum.reverse(chunk), count, []}

  defp take([entry | rest] = entries, chunk, count, weight, bytes) do
    {more, size} = measure(entry)

    cond do
      size >= @alone and count == 0 ->
        {[entry], 1, rest}

      size >= @alone or (count > 0 and (weight + more > @weight or bytes + size > @bytes)) ->
        {Enum.reverse(chunk), count, entries}

      true ->
        take(rest, [entry | chunk], count + 1, weight + more, bytes + size)
    end
  end

  defp measure({payload, options}),
    do: Enum.reduce(options, {2, payload_size(payload)}, &measure/2)

  defp measure(payload), do: {1, payload_size(payload)}

  defp measure({:properties, properties}, {weight, bytes}) do
    sizes = Enum.map(properties, fn {key, value} -> byte_size(key) + byte_size(value) end)
    {weight + length(sizes), bytes + Enum.sum(sizes)}
  end

  defp measure({_name, value}, {weight, bytes}) when is_binary(value),
    do: {weight, bytes + byte_size(value)}

  defp measure(_option, measured), do: measured

  defp payload_size(nil), do: 0
  defp payload_size(payload), do: byte_size(payload)
end
