defmodule AMDGPUFramework.Messaging.Consumer do
  @moduledoc false
  # What is done with a consumer, in the process of the caller.

  alias AMDGPUFramework.Messaging.{Call, Handles, Message, MessageHandler, MessageId, Native}

  # What one native call takes.
  @chunk 1000

  @max_request 1_000_000_000
  @max_timestamp 0x7FFF_FFFF_FFFF_FFFF

  @control_timeout 60_000
  @stop_processing_timeout 30_000

  @spec ack(term, term) :: :ok | {:error, term}
  def ack(consumer, messages), do: in_chunks(consumer, messages, &Native.consumer_ack/2)

  @spec nack(term, term) :: :ok | {:error, term}
  def nack(consumer, messages), do: in_chunks(consumer, messages, &Native.consumer_nack/2)

  @spec ack_cumulative(term, term) :: :ok | {:error, term}
  def ack_cumulative(consumer, message) do
    with {:ok, handle} <- Handles.fetch(consumer, :consumer),
         do: Native.consumer_ack_cumulative(handle.native, message)
  end

  @spec request(term, pos_integer) :: :ok | {:error, term}
  def request(consumer, count) when is_integer(count) and count in 1..@max_request do
    with {:ok, handle} <- Handles.fetch(consumer, :consumer),
         do: Native.consumer_request(handle.native, count)
  end

  def request(_consumer, count),
    do: {:error, {:invalid_option, :count, count, "an integer from 1 to #{@max_request}"}}

  @spec pause(term) :: :ok | {:error, term}
  def pause(consumer) do
    with {:ok, handle} <- Handles.fetch(consumer, :consumer),
         do: Native.consumer_pause(handle.native)
  end

  @spec resume(term) :: :ok | {:error, term}
  def resume(consumer) do
    with {:ok, handle} <- Handles.fetch(consumer, :consumer),
         do: Native.consumer_resume(handle.native)
  end

  @spec seek(term, term) :: :ok | {:error, term}
  def seek(consumer, position) do
    with {:ok, handle} <- Handles.fetch(consumer, :consumer),
         {:ok, position} <- position(position),
         do: Call.run(&Native.consumer_seek(handle.native, &1, position), @control_timeout)
  end

  @spec unsubscribe(term) :: :ok | {:error, term}
  def unsubscribe(consumer) do
    with {:ok, handle} <- Handles.fetch(consumer, :consumer),
         :ok <- Call.run(&Native.consumer_unsubscribe(handle.native, &1), @control_timeout) do
      # Nothing can come any more; that the consumer may be closed already is as good.
      _ = close(handle)
      Handles.release(handle.id, handle.instance)
    end
  end

  @spec close(AMDGPUFramework.Messaging.Handle.t()) :: :ok | {:error, term}
  def close(handle) do
    # First, so that what the pipeline is working on is still acknowledged.
    _ = MessageHandler.stop(handle, @stop_processing_timeout)

    with :ok <- Call.run(&Native.consumer_close(handle.native, &1), @control_timeout),
         do: Handles.release(handle.id, handle.instance)
  end

  @spec stats(AMDGPUFramework.Messaging.Handle.t()) :: map
  def stats(handle) do
    stats = Native.consumer_stats(handle.native)
    stats = Map.put(stats, :message_count, Map.get(stats, :messages_received, 0))

    case MessageHandler.stats(handle) do
      {:ok, processing} -> Map.put(stats, :gpu_processing, processing)
      {:error, _} -> stats
    end
  end

  defp in_chunks(consumer, messages, native) do
    with {:ok, handle} <- Handles.fetch(consumer, :consumer),
         do: each_chunk(handle.native, messages, native)
  end

  defp each_chunk(consumer, messages, native) when is_list(messages) do
    case take(messages, @chunk, []) do
      {[], []} ->
        :ok

      {chunk, []} ->
        native.(consumer, chunk)

      {chunk, rest} when is_list(rest) ->
        with :ok <- native.(consumer, chunk), do: each_chunk(consumer, rest, native)

      {_chunk, tail} ->
        {:error, {:invalid_option, :messages, tail, "a list of messages or message ids"}}
    end
  end

  defp each_chunk(consumer, message, native), do: native.(consumer, [message])

  defp take([message | rest], count, chunk) when count > 0,
    do: take(rest, count - 1, [message | chunk])

  defp take(rest, _count, chunk), do: {Enum.reverse(chunk), rest}

  defp position(position) when position in [:earliest, :latest], do: {:ok, position}
  defp position(%MessageId{} = id), do: {:ok, id}
  defp position(%Message{message_id: %MessageId{} = id}), do: {:ok, id}

  defp position(%DateTime{} = time),
    do: position({:timestamp, DateTime.to_unix(time, :millisecond)})

  defp position({:timestamp, ms}) when is_integer(ms) and ms in 0..@max_timestamp,
    do: {:ok, {:timestamp, ms}}

  defp position(position) do
    allowed = ":earliest, :latest, a message, a message id, a DateTime or {:timestamp, unix_ms}"
    {:error, {:invalid_option, :position, position, allowed}}
  end
end
