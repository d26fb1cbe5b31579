defmodule AMDGPUFramework.Attack.DeliveryTest do
  use AMDGPUFramework.E2ECase, async: false

  @mib 1_048_576

  setup_all do
    [broker: TestBroker.shared()]
  end

  setup %{broker: broker} do
    manager = start_manager(broker)
    topic = TestBroker.topic("delivery")
    consumer = consumer!(manager, topic, :exclusive)
    [manager: manager, topic: topic, consumer: consumer, producer: producer!(manager, topic)]
  end

  test "a slice keeps its entry, and a copy lets it go", %{producer: producer, consumer: consumer} do
    list = for n <- 1..100, do: <<n>> <> :crypto.strong_rand_bytes(9_999)
    {:ok, _} = PulsarManager.send_messages(producer, list)
    received = receive_messages(consumer, 100)
    assert payloads(received) == list
    [first | _] = received
    # What it is a slice of is not the VM's own: it knows the handle only.
    assert :binary.referenced_byte_size(first.payload) != byte_size(first.payload)
    copy = Message.copy(first)
    assert :binary.referenced_byte_size(copy.payload) == byte_size(copy.payload)
    assert copy == first
  end

  test "dropped messages give their memory back", context do
    %{producer: producer, consumer: consumer} = context
    payload = :crypto.strong_rand_bytes(100_000)

    round = fn ->
      for _ <- 1..10 do
        {:ok, _} = PulsarManager.send_messages(producer, List.duplicate(payload, 50))
        received = receive_messages(consumer, 50)
        :ok = PulsarManager.ack(consumer, received)
      end

      :erlang.garbage_collect()
      resident()
    end

    before = Enum.max(for _ <- 1..3, do: round.())
    after_it = Enum.min(for _ <- 1..4, do: round.())
    # Each round receives 50 MB.
    assert after_it - before < 64 * @mib
  end

  test "messages without properties share one map; keys and tombstones arrive as sent", context do
    %{producer: producer, consumer: consumer} = context
    {:ok, _} = PulsarManager.send_messages(producer, List.duplicate("x", 100))
    plain = receive_messages(consumer, 100)
    # Shared, they are far smaller than each with a map of its own.
    assert :erts_debug.size(Enum.map(plain, & &1.properties)) <
             :erts_debug.flat_size(Enum.map(plain, & &1.properties))

    many = Map.new(1..1000, &{"name #{&1}", "value #{&1}"})
    {:ok, _} = PulsarManager.send_messages(producer, [{nil, key: "é"}, {"", properties: many}])

    assert [
             %{payload: nil, key: "é", properties: none},
             %{payload: "", key: nil, properties: ^many}
           ] = receive_messages(consumer, 2)

    assert none == %{}
    too_many = Map.put(many, "one", "more")

    assert {:error, {:invalid_option, :properties, _, allowed}} =
             PulsarManager.send_message(producer, "x", properties: too_many)

    assert allowed =~ "1000"

    assert {:error, {:invalid_option, :properties, _, _}} =
             PulsarManager.send_message(producer, "x", properties: %{"k" => <<255>>})
  end

  test "no native call holds a scheduler", context do
    %{producer: producer, consumer: consumer, manager: manager} = context
    test = self()

    watcher =
      spawn_link(fn ->
        :erlang.system_monitor(self(), [{:long_schedule, 100}])
        watch(test)
      end)

    payloads = [
      List.duplicate(:binary.copy("x", 8 * 1024), 500),
      List.duplicate({"x", key: "k", properties: Map.new(1..50, &{"k#{&1}", "v"})}, 500),
      List.duplicate(:binary.copy("x", 1024 * 1024), 4),
      List.duplicate("x", 10_000)
    ]

    for list <- payloads do
      {:ok, ref} = PulsarManager.send_messages_async(producer, list)
      acknowledge(consumer, length(list))
      assert_receive {^ref, {:ok, _}}, 30_000
    end

    {:ok, _} = AMDGPUFramework.Messaging.JSON.encode(Enum.to_list(1..1_000_000))
    {:ok, _} = PulsarManager.health(manager)
    :erlang.system_monitor(:undefined)
    send(watcher, :stop)
    assert_receive {:long, reports}
    native = for {_pid, info} <- reports, inspect(info) =~ "Messaging.Native", do: info
    assert native == []
  end

  defp acknowledge(_consumer, 0), do: :ok

  defp acknowledge(consumer, count) do
    assert_receive {:pulsar_messages, ^consumer, messages}, 30_000
    :ok = PulsarManager.ack(consumer, messages)
    acknowledge(consumer, count - length(messages))
  end

  defp resident do
    with {:ok, status} <- File.read("/proc/self/status"),
         [_, kib] <- Regex.run(~r/VmRSS:\s+(\d+) kB/, status) do
      String.to_integer(kib) * 1024
    else
      _ -> 0
    end
  end

  defp watch(test, reports \\ []) do
    receive do
      {:monitor, pid, :long_schedule, info} -> watch(test, [{pid, info} | reports])
      :stop -> send(test, {:long, reports})
    end
  end
end
