# What this library does on this machine: `make bench`, or `mix run bench/run.exs [--messages 500000] [--repetitions 3]`.
#
# It starts a broker of its own and runs bench/peer.exs, each time in a virtual machine of its own. Medians are printed.

defmodule Bench do
  alias AMDGPUFramework.Standalone

  @flags "+sbwt none +sbwtdcpu none +sbwtdio none"

  def main(arguments) do
    {options, [], []} =
      OptionParser.parse(arguments, strict: [messages: :integer, repetitions: :integer])

    messages = Keyword.get(options, :messages, 500_000)
    repetitions = Keyword.get(options, :repetitions, 3)
    directory = Path.join(System.tmp_dir!(), "amdgpu_framework-bench-#{System.pid()}")
    File.mkdir_p!(directory)

    try do
      for size <- [100, 1024], do: write_payloads(directory, size)
      data_dir = Path.join(directory, "broker")

      # A backlog waits for the case that consumes it.
      settings = [brokerDeleteInactiveTopicsEnabled: false]
      ports = [port: 0, http_port: 0, bookie_port: 0]
      {:ok, broker} = Standalone.start([data_dir: data_dir, set: settings] ++ ports)

      environment = [
        {"PEERS_BUILD", directory},
        {"PULSAR_SERVICE_URL", Standalone.info(broker).service_url},
        {"ERL_FLAGS", System.get_env("ERL_FLAGS", @flags)}
      ]

      # A broker that has just started is slow.
      peer(produce("warm-up", messages, 100, "none"), environment)
      peer(["consume", "warm-up", messages, "ind"], environment)

      for {title, env, steps} <- cases(messages) do
        results =
          for repetition <- 1..repetitions do
            peer(steps.(repetition), env ++ environment)
          end

        print(title, results)
      end

      Standalone.stop(broker)
    after
      File.rm_rf!(directory)
    end
  end

  # A backlog is what the producing case before it has left.
  defp cases(n) do
    [
      {"produce 100 B", [], &produce("b100-#{&1}", n, 100, "none")},
      {"produce 100 B lz4", [], &produce("b100lz4-#{&1}", n, 100, "lz4")},
      {"produce 1 KB", [], &produce("b1k-#{&1}", div(n, 4), 1024, "none")},
      {"consume 100 B", [], &["consume", "b100-#{&1}", n, "ind"]},
      {"consume 100 B, queue 10 000", [{"RQ", "10000"}], &["consume", "b100-#{&1}", n, "ind"]},
      {"consume 1 KB", [], &["consume", "b1k-#{&1}", div(n, 4), "ind"]},
      {"latency 1 KB", [], &["latency", "latency-#{&1}", 5_000, 4, 1024]},
      {"latency 1 KB, not persistent", [],
       &["latency", "non-persistent://public/default/latency-#{&1}", 5_000, 4, 1024]}
    ]
  end

  defp produce(topic, n, size, compression),
    do: ["produce", topic, n, size, compression, 5, 1000, 131_072, 10_000]

  defp peer(arguments, environment) do
    command = ["run", "--no-compile", "bench/peer.exs" | Enum.map(arguments, &to_string/1)]
    {output, status} = System.cmd("mix", command, env: environment, stderr_to_stdout: true)

    case Regex.run(~r/^RESULT (\{.*\})/m, output) do
      [_, json] when status == 0 ->
        {:ok, result} = AMDGPUFramework.Messaging.JSON.decode(json)
        result

      _ ->
        raise "#{Enum.join(arguments, " ")} failed:\n#{output}"
    end
  end

  defp print(title, [%{"mode" => "latency"} | _] = results) do
    line(
      title,
      "p50 #{median(results, "p50_ms")} ms  p99 #{median(results, "p99_ms")} ms",
      results
    )
  end

  defp print(title, results), do: line(title, "#{median(results, "rate")} messages/s", results)

  defp line(title, text, results) do
    cpu = "#{median(results, "cpu_us_msg")} µs CPU a message"
    IO.puts("#{String.pad_trailing(title, 30)} #{String.pad_trailing(text, 32)} #{cpu}")
  end

  defp median(results, key) do
    values = results |> Enum.map(& &1[key]) |> Enum.sort()
    Enum.at(values, div(length(values), 2))
  end

  defp write_payloads(directory, size) do
    pool = for n <- 1..1024, do: String.pad_trailing(~s({"id":#{n},"text":"), size, "some words ")
    pool = Enum.map(pool, &binary_part(&1, 0, size))
    File.write!(Path.join(directory, "payload_#{size}.bin"), pool)
  end
end

Bench.main(System.argv())
