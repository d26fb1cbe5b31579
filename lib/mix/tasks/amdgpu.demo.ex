defmodule Mix.Tasks.Amdgpu.Demo do
  @shortdoc "Computes messages through a real broker, twice: undisturbed, and with the broker killed"

  @moduledoc """
  The main job of this library on real messages, from end to end.

      mix amdgpu.demo [--messages 20000]

  It starts an Apache Pulsar broker of its own on free ports, sends compute operations to the topic `compute-operations`,
  computes them on the device at hand, and checks every result in `compute-results` against a value computed
  independently. In a second round the broker is killed with -9 while messages flow, and started again.

  The exit status is 1 if a result is missing or wrong.

  ## Options

    * `--messages N` - how many messages each round sends (20000)
    * `--help` - prints this
  """

  use Mix.Task

  alias AMDGPUFramework.Demo.{Console, Round, Workload}
  alias AMDGPUFramework.Messaging.{Error, PulsarManager}
  alias AMDGPUFramework.Standalone

  @manager AMDGPUFramework.Demo
  @default_messages 20_000

  # An outage of the broker is shorter than this on the slowest machine.
  @send_timeout 120_000

  @impl true
  def run(arguments) do
    case parse!(arguments) do
      :help -> Mix.shell().info(@moduledoc)
      messages -> demonstrate(messages)
    end
  end

  defp parse!(arguments) do
    case OptionParser.parse(arguments, strict: [messages: :integer, help: :boolean]) do
      {options, [], []} ->
        messages = Keyword.get(options, :messages, @default_messages)

        cond do
          options[:help] -> :help
          messages > 0 -> messages
          true -> Mix.raise("--messages must be at least 1")
        end

      {_, _, [{switch, value} | _]} ->
        Mix.raise("invalid option #{switch} #{value}; see mix help amdgpu.demo")

      {_, [argument | _], _} ->
        Mix.raise("unexpected argument #{argument}; see mix help amdgpu.demo")
    end
  end

  defp demonstrate(messages) do
    Mix.Task.run("app.start")
    # Disconnections are what this shows; they are told in its own words.
    Logger.configure(level: :error)
    data_dir = Path.join(System.tmp_dir!(), "amdgpu_framework-demo-#{System.pid()}")

    try do
      unless rounds(start_broker!(data_dir), messages), do: exit({:shutdown, 1})
    after
      File.rm_rf(data_dir)
    end
  end

  defp start_broker!(data_dir) do
    IO.puts("Starting Apache Pulsar (the first time it is downloaded) ...")

    case Standalone.start(port: 0, http_port: 0, bookie_port: 0, data_dir: data_dir) do
      {:ok, broker} -> broker
      {:error, error} -> Mix.raise(Exception.message(error))
    end
  end

  defp rounds(broker, messages) do
    info = Standalone.info(broker)
    {:ok, _} = PulsarManager.start_link(name: @manager, broker_service_url: info.service_url)
    :ok = PulsarManager.subscribe(@manager)
    ids = start_pipeline!()
    IO.puts("#{info.service_url} is ready; operations: #{Enum.join(Workload.operations(), ", ")}")

    IO.puts("\nRound 1: #{Console.number(messages)} compute messages")
    first = report(Round.run(ids, 1, messages))

    IO.puts("\nRound 2: the same, and the broker is killed with -9 while messages flow")
    second = report(Round.run(ids, 2, messages, crash: broker))

    stop(broker)
    first and second
  end

  defp start_pipeline! do
    with {:ok, input} <-
           PulsarManager.create_consumer("compute-operations", "demo", options([])),
         {:ok, results} <-
           PulsarManager.create_consumer("compute-results", "demo", options([])),
         :ok <-
           PulsarManager.start_gpu_processing(input, %{
             processing_type: "compute_operation",
             output_strategy: %{type: "forward_to_topic", topic: "compute-results"}
           }),
         {:ok, producer} <-
           PulsarManager.create_producer(
             "compute-operations",
             options(send_timeout: @send_timeout)
           ) do
      %{producer: producer, results: results}
    else
      {:error, reason} -> Mix.raise("the pipeline did not start: #{Error.message(reason)}")
    end
  end

  defp options(options), do: [manager: @manager] ++ options

  defp report(%{tally: tally} = report) do
    [p50, p99] = AMDGPUFramework.Demo.Tally.percentiles(tally, [0.5, 0.99])

    rows = [
      {"messages", Console.number(tally.total)},
      {"time", Console.milliseconds(report.time_us / 1000)},
      {"rate", "#{Console.number(round(tally.verified * 1.0e6 / report.time_us))} messages/s"},
      {"latency p50", Console.milliseconds(p50)},
      {"latency p99",
       "#{Console.milliseconds(p99)}, with #{Console.number(Round.window())} under way"},
      {"device", tally.device || "none"},
      {"duplicates", Console.number(tally.duplicates)}
    ]

    Console.table(rows ++ outage_rows(report) ++ wrong_rows(report))
    IO.puts("\n#{tally.verified}/#{tally.total} results verified#{verdict(report)}")
    failures(report)
    succeeded?(report)
  end

  defp outage_rows(%{outage_ms: nil}), do: []

  defp outage_rows(report) do
    [
      {"broker down", Console.milliseconds(report.outage_ms / 1)},
      {"reconnected", "#{report.reconnects} producers and consumers, by themselves"},
      {"sent again", "#{report.resent} after a timeout"}
    ]
  end

  defp wrong_rows(%{tally: %{wrong_count: 0}}), do: []
  defp wrong_rows(%{tally: tally}), do: [{"wrong results", Console.number(tally.wrong_count)}]

  defp verdict(report) do
    cond do
      not succeeded?(report) -> ""
      report.outage_ms -> ", nothing lost"
      true -> ""
    end
  end

  defp failures(%{tally: tally, error: error}) do
    if error, do: IO.puts(:stderr, error)
    for {why, payload} <- tally.wrong, do: IO.puts(:stderr, "#{why}: #{payload}")
    missing = tally.total - tally.verified
    if missing > 0, do: IO.puts(:stderr, "#{missing} results are missing")
  end

  defp succeeded?(%{tally: tally, error: error}) do
    error == nil and tally.verified == tally.total and tally.wrong_count == 0
  end

  defp stop(broker) do
    GenServer.stop(@manager, :normal, :infinity)
    Standalone.stop(broker)
  end
end
