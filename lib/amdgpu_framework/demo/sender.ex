defmodule AMDGPUFramework.Demo.Sender do
  @moduledoc false
  # Sends the messages of a round and sees that each is stored. So many may be without a result; the collector says
  # `{:verified, count}` as results come. What a broker's crash left unconfirmed for too long is sent once more.

  alias AMDGPUFramework.Demo.{Tally, Workload}
  alias AMDGPUFramework.Messaging.{ComputeMessage, PulsarManager}

  @chunk 50

  defstruct [:producer, :tally, :window, next: 0, open: 0, receipts: %{}, resent: 0]

  @doc "Returns how many messages were sent a second time."
  @spec run(producer :: term, Tally.t(), window :: pos_integer) ::
          {:ok, resent :: non_neg_integer} | {:error, term}
  def run(producer, tally, window) do
    with {:ok, handle} <- PulsarManager.lookup(producer),
         do: loop(%__MODULE__{producer: handle, tally: tally, window: window})
  end

  defp loop(%{next: next, tally: %{total: total}, receipts: receipts} = state)
       when next == total and receipts == %{},
       do: {:ok, state.resent}

  defp loop(%{next: next, tally: %{total: total}} = state) do
    if next < total and state.open + @chunk <= state.window do
      count = min(@chunk, total - next)
      numbers = Enum.to_list(next..(next + count - 1))
      Enum.each(numbers, &Tally.sent(state.tally, &1))
      submit(%{state | next: next + count, open: state.open + count}, numbers)
    else
      wait(state)
    end
  end

  defp submit(state, numbers) do
    with {:ok, payloads} <- encode(state.tally, numbers),
         {:ok, ref} <- PulsarManager.send_messages_async(state.producer, payloads) do
      loop(%{state | receipts: Map.put(state.receipts, ref, numbers)})
    end
  end

  defp wait(%{receipts: receipts} = state) do
    receive do
      {:verified, count} ->
        loop(%{state | open: state.open - count})

      {ref, {:ok, _ids}} when is_map_key(receipts, ref) ->
        loop(%{state | receipts: Map.delete(receipts, ref)})

      {ref, {:error, {:send_timeout, partial}}} when is_map_key(receipts, ref) ->
        {numbers, receipts} = Map.pop!(receipts, ref)
        unknown = for {number, {:error, _}} <- Enum.zip(numbers, partial), do: number
        resent = state.resent + length(unknown)
        submit(%{state | receipts: receipts, resent: resent}, unknown)

      {ref, {:error, {reason, _partial}}} when is_map_key(receipts, ref) ->
        {:error, reason}
    end
  end

  defp encode(tally, numbers) do
    Enum.reduce_while(Enum.reverse(numbers), {:ok, []}, fn number, {:ok, payloads} ->
      message = Workload.message(number, Tally.correlation_id(tally, number))

      case ComputeMessage.encode(message) do
        {:ok, payload} -> {:cont, {:ok, [payload | payloads]}}
        {:error, _} = error -> {:halt, error}
      end
    end)
  end
end
