defmodule AMDGPUFramework.Messaging.BoundedSend do
  @moduledoc false
  # Sending to processes that give no credits: what would grow a mailbox without end is dropped and counted.

  @limit 10_000
  @counter {__MODULE__, :dropped}

  @doc "Creates the counter, once; the first process of the application's tree calls it."
  @spec setup() :: :ok
  def setup do
    if :persistent_term.get(@counter, nil) == nil,
      do: :persistent_term.put(@counter, :counters.new(1, [:write_concurrency])),
      else: :ok
  end

  @doc "Above how many messages in its mailbox a process gets no more."
  @spec limit() :: pos_integer
  def limit, do: @limit

  @doc "How many messages were dropped since the VM started."
  @spec dropped() :: non_neg_integer
  def dropped, do: :counters.get(counter(), 1)

  @doc "Sends messages in order, as far as the receiver has room. Returns how many were dropped."
  @spec send_all(pid, [term], pos_integer) :: non_neg_integer
  def send_all(pid, messages, limit \\ @limit)

  def send_all(pid, messages, limit) when node(pid) == node() do
    case Process.info(pid, :message_queue_len) do
      {:message_queue_len, length} -> deliver(pid, messages, limit - length)
      nil -> 0
    end
  end

  # A mailbox on another node is not looked into; what the connection cannot take is dropped.
  def send_all(pid, messages, _limit) do
    dropped = Enum.count(messages, &(Process.send(pid, &1, [:nosuspend, :noconnect]) != :ok))
    count(dropped)
  end

  defp deliver(_pid, [], _room), do: 0
  defp deliver(_pid, messages, room) when room <= 0, do: count(length(messages))

  defp deliver(pid, [message | rest], room) do
    send(pid, message)
    deliver(pid, rest, room - 1)
  end

  defp count(0), do: 0

  defp count(dropped) do
    :counters.add(counter(), 1, dropped)
    dropped
  end

  defp counter, do: :persistent_term.get(@counter)
end
