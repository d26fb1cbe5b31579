defmodule AMDGPUFramework.Attack.ShutdownTest do
  use AMDGPUFramework.E2ECase, async: false

  @moduletag timeout: 240_000
  @halts 20

  setup_all do
    [broker: TestBroker.shared()]
  end

  test "a supervisor that stops under load answers every send and keeps every ack", %{
    broker: broker
  } do
    name = :"stop_#{System.unique_integer([:positive])}"
    config = [name: name, broker_service_url: broker.service_url, shutdown_timeout: 10_000]
    {:ok, supervisor} = Supervisor.start_link([{PulsarManager, config}], strategy: :one_for_one)
    topic = TestBroker.topic("stop")
    producer = producer!(name, topic)
    {:ok, handle} = PulsarManager.lookup(producer)
    consumer = consumer!(name, topic)
    test = self()

    senders =
      for n <- 1..4 do
        spawn_monitor(fn -> exit({:sent, send_until_closed(handle, n, [], test)}) end)
      end

    acked = acknowledge(consumer, 5_000, [])
    {time, :ok} = :timer.tc(fn -> Supervisor.stop(supervisor) end)
    assert time < 12_000_000

    # Every send was answered: what was stored is known.
    stored =
      for {pid, monitor} <- senders, reduce: [] do
        stored ->
          assert_receive {:DOWN, ^monitor, :process, ^pid, {:sent, more}}, 15_000
          more ++ stored
      end

    # What came after the last ack is not acknowledged; what was acknowledged does not come again.
    again = start_manager(broker)
    next = consumer!(again, topic)
    rest = receive_rest(next, producer!(again, topic)) |> payloads()
    assert MapSet.disjoint?(MapSet.new(acked), MapSet.new(rest))
    assert MapSet.subset?(MapSet.new(stored), MapSet.new(acked ++ rest))
  end

  @script """
  alias AMDGPUFramework.Messaging.PulsarManager
  [url, topic, how] = System.argv()
  {:ok, _} = PulsarManager.start_link(broker_service_url: url)
  {:ok, producer} = PulsarManager.create_producer(topic)
  {:ok, consumer} = PulsarManager.create_consumer(topic, "test", initial_position: :earliest)

  for _ <- 1..2, do: spawn(fn ->
    Stream.repeatedly(fn -> PulsarManager.send_messages_async(producer, List.duplicate("x", 50)) end) |> Stream.run()
  end)

  spawn(fn ->
    Process.sleep(200 + :rand.uniform(100))
    case how do
      "halt" -> System.halt(0)
      "stop" -> System.stop(0)
      "term" -> System.cmd("kill", ["-TERM", System.pid()])
    end
  end)

  take = fn take ->
    receive do
      {:pulsar_messages, ^consumer, messages} -> PulsarManager.ack(consumer, messages)
      _ -> :ok
    end
    take.(take)
  end

  take.(take)
  """

  test "a VM that ends with messages in flight ends cleanly", %{broker: broker} do
    topic = TestBroker.topic("halt")

    for n <- 1..@halts, how <- [Enum.at(["halt", "stop", "term"], rem(n, 3))] do
      {output, status} = run(@script, [broker.service_url, topic, how])
      assert status == 0, "#{how}: #{status}\n#{output}"
      refute output =~ "crash dump"
      refute output =~ "panicked"
    end
  end

  @drain """
  alias AMDGPUFramework.Messaging.PulsarManager
  [url, topic] = System.argv()
  {:ok, _} = PulsarManager.start_link(broker_service_url: url)
  # Held back, so that only draining sends it.
  {:ok, producer} = PulsarManager.create_producer(topic, batch_delay: 60_000, batch_size: 100_000)
  for n <- 1..500, do: {:ok, _} = PulsarManager.send_async(producer, Integer.to_string(n))
  System.stop(0)
  Process.sleep(:infinity)
  """

  test "a script that stops loses nothing that it sent", %{broker: broker} do
    topic = TestBroker.topic("drain")
    manager = start_manager(broker)
    consumer = consumer!(manager, topic)
    {output, 0} = run(@drain, [broker.service_url, topic])
    received = receive_rest(consumer, producer!(manager, topic)) |> payloads()
    assert received == Enum.map(1..500, &Integer.to_string/1), output
  end

  @reload """
  alias AMDGPUFramework.Messaging.{Native, PulsarManager}
  [url, topic] = System.argv()
  Process.flag(:trap_exit, true)
  {:ok, _} = PulsarManager.start_link(broker_service_url: url)
  {:ok, producer} = PulsarManager.create_producer(topic)
  {:ok, consumer} = PulsarManager.create_consumer(topic, "s", initial_position: :earliest)
  {:ok, _} = PulsarManager.send_messages(producer, List.duplicate("x", 100))
  {:error, {:reload, _}} = Native.load()
  {:ok, handle} = PulsarManager.lookup(producer)
  for _ <- 1..50, do: {:ok, _} = PulsarManager.send_async(handle, "in flight")
  true = :code.delete(Native)
  :code.purge(Native)
  {:module, Native} = :code.load_file(Native)
  "" <> _ = Native.version()
  # Handles of the code that is gone are no handles any more.
  ArgumentError = try do PulsarManager.send_message(handle, "y") rescue e -> e.__struct__ end
  for pid <- Process.list(), do: :erlang.garbage_collect(pid)
  {:ok, client} = Native.client_open(%{service_url: url}, 1, self())
  Native.client_health(client, ref = make_ref())
  receive do: ({^ref, {:ok, %{connected: true}}} -> IO.puts("healthy"))
  System.halt(0)
  """

  test "deleting, purging and loading the native module does not end the VM", %{broker: broker} do
    assert {output, 0} = run(@reload, [broker.service_url, TestBroker.topic("reload")])
    assert output =~ "healthy"
  end

  defp run(script, arguments) do
    path = Path.join(System.tmp_dir!(), "attack-#{System.unique_integer([:positive])}.exs")
    File.write!(path, script)
    on_exit(fn -> File.rm(path) end)
    paths = Enum.flat_map(:code.get_path(), &["-pa", to_string(&1)])
    setup = ["-e", "{:ok, _} = Application.ensure_all_started(:amdgpu_framework)", "-r", path]

    # Not by Mix, whose own processes do not expect to be stopped.
    System.cmd(
      "elixir",
      Enum.filter(paths, &(&1 == "-pa" or &1 =~ "amdgpu"))
      |> pairs()
      |> Kernel.++(setup)
      |> Kernel.++(arguments),
      stderr_to_stdout: true,
      env: [{"ERL_CRASH_DUMP_BYTES", "0"}]
    )
  end

  # Only the project's own code is not on the path of every VM.
  defp pairs(paths) do
    paths |> Enum.reject(&(&1 == "-pa")) |> Enum.flat_map(&["-pa", &1])
  end

  defp send_until_closed(handle, n, stored, test) do
    list = for i <- 1..50, do: "#{n} #{System.unique_integer([:positive, :monotonic])} #{i}"

    case PulsarManager.send_messages(handle, list) do
      {:ok, _ids} ->
        send_until_closed(handle, n, list ++ stored, test)

      {:error, {:closed, results}} ->
        for({message, {:ok, _}} <- Enum.zip(list, results), do: message) ++ stored

      {:error, :closed} ->
        stored
    end
  end

  defp acknowledge(consumer, count, acked) when count <= 0 do
    receive do
      {:pulsar_messages, ^consumer, messages} ->
        :ok = PulsarManager.ack(consumer, messages)
        payloads(messages) ++ acked
    after
      5_000 -> acked
    end
  end

  defp acknowledge(consumer, count, acked) do
    assert_receive {:pulsar_messages, ^consumer, messages}, 30_000
    :ok = PulsarManager.ack(consumer, messages)
    acknowledge(consumer, count - length(messages), payloads(messages) ++ acked)
  end
end
