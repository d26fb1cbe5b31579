defmodule AMDGPUFramework.Demo.Round do
  @moduledoc false
  # One round: a sender sends, the pipeline computes, and this process collects the results from their topic and checks
  # each. It owns both consumers. With `crash: broker` that broker is killed while messages flow, and started again.

  alias AMDGPUFramework.Demo.{Console, Sender, Tally}
  alias AMDGPUFramework.Messaging.PulsarManager
  alias AMDGPUFramework.Standalone

  # How many messages are under way together, from sending to verified result.
  @window 1_000
  @crash_at 0.3
  # Without a new result for so long the round has failed.
  @patience 45_000
  # Redelivered messages that were computed twice still come when all is verified.
  @settle 500

  defstruct [
    :tally,
    :results,
    :sender,
    :crash,
    :console,
    :moved_at,
    sent: :no,
    resent: 0,
    broker: :up,
    outage_ms: nil,
    outage: nil,
    disconnects: 0,
    reconnects: 0
  ]

  @type report :: %{
          tally: Tally.t(),
          time_us: pos_integer,
          resent: non_neg_integer,
          outage_ms: non_neg_integer | nil,
          disconnects: non_neg_integer,
          reconnects: non_neg_integer,
          error: String.t() | nil
        }

  @doc "How many messages are under way together."
  @spec window() :: pos_integer
  def window, do: @window

  @spec run(
          %{producer: String.t(), results: String.t()},
          round :: pos_integer,
          total :: pos_integer,
          crash: Standalone.broker() | nil
        ) :: report
  def run(%{producer: producer, results: results}, round, total, options \\ []) do
    tally = Tally.new(round, total)
    started = System.monotonic_time(:microsecond)

    state = %__MODULE__{
      tally: tally,
      results: results,
      sender: Task.async(fn -> Sender.run(producer, tally, @window) end),
      crash: options[:crash],
      console: Console.new(),
      moved_at: now()
    }

    schedule_tick()
    {state, error} = collect(state)
    time = System.monotonic_time(:microsecond) - started
    Task.shutdown(state.sender, :brutal_kill)
    Console.finish(state.console, state.tally, note(state))
    state = if error, do: state, else: settle(state)

    %{
      tally: state.tally,
      time_us: time,
      resent: state.resent,
      outage_ms: state.outage_ms,
      disconnects: state.disconnects,
      reconnects: state.reconnects,
      error: error
    }
  end

  defp collect(state) do
    cond do
      Tally.complete?(state.tally) and state.sent == :yes and state.outage == nil -> {state, nil}
      now() - state.moved_at > @patience -> {state, "no new result for #{div(@patience, 1000)} s"}
      true -> receive_one(state)
    end
  end

  defp receive_one(%{sender: %{ref: sender}, outage: outage} = state) do
    receive do
      {^sender, {:ok, resent}} ->
        Process.demonitor(sender, [:flush])
        collect(%{state | sent: :yes, resent: resent})

      {^sender, {:error, reason}} ->
        Process.demonitor(sender, [:flush])
        {state, "sending failed: #{AMDGPUFramework.Messaging.Error.message(reason)}"}

      {^outage, {:restarted, milliseconds}} ->
        Process.demonitor(outage, [:flush])

        collect(%{
          state
          | outage: nil,
            broker: :restarted,
            outage_ms: milliseconds,
            moved_at: now()
        })

      {^outage, {:error, error}} ->
        {state, "the broker did not start again: #{Exception.message(error)}"}

      message ->
        state |> handle(message) |> crash_when_flowing() |> collect()
    end
  end

  defp handle(%{results: results} = state, {:pulsar_messages, results, messages}) do
    {tally, fresh} =
      Enum.reduce(messages, {state.tally, 0}, fn message, {tally, fresh} ->
        {tally, first?} = Tally.record(tally, message.payload)
        {tally, if(first?, do: fresh + 1, else: fresh)}
      end)

    :ok = PulsarManager.ack(results, messages)
    send(state.sender.pid, {:verified, fresh})
    %{state | tally: tally, moved_at: if(fresh > 0, do: now(), else: state.moved_at)}
  end

  defp handle(state, {:pulsar_event, %{event_type: type}}) do
    case type do
      "consumer_disconnected" -> %{state | disconnects: state.disconnects + 1}
      "producer_disconnected" -> %{state | disconnects: state.disconnects + 1}
      "consumer_reconnected" -> %{state | reconnects: state.reconnects + 1}
      "producer_reconnected" -> %{state | reconnects: state.reconnects + 1}
      _ -> state
    end
  end

  defp handle(state, :tick) do
    schedule_tick()
    %{state | console: Console.progress(state.console, state.tally, note(state))}
  end

  # What the pipeline tells the owner of its consumer; the results topic is what counts.
  defp handle(state, _message), do: state

  defp crash_when_flowing(%{crash: nil} = state), do: state

  defp crash_when_flowing(%{tally: tally, crash: broker} = state) do
    if tally.verified >= @crash_at * tally.total do
      %{ref: outage} = Task.async(fn -> kill_and_restart(broker) end)
      %{state | crash: nil, outage: outage, broker: :killed}
    else
      state
    end
  end

  defp kill_and_restart(broker) do
    started = now()
    :ok = Standalone.kill(broker)

    case Standalone.restart(broker) do
      :ok -> {:restarted, now() - started}
      {:error, _} = error -> error
    end
  end

  defp settle(state) do
    receive do
      :tick -> settle(state)
      message -> state |> handle(message) |> settle()
    after
      @settle -> state
    end
  end

  defp note(%{broker: :up}), do: ""
  defp note(%{broker: :killed}), do: "broker killed with -9, starting again"
  defp note(%{broker: :restarted}), do: "broker is back"

  defp schedule_tick, do: Process.send_after(self(), :tick, Console.interval())
  defp now, do: System.monotonic_time(:millisecond)
end
