defmodule AMDGPUFramework.Attack.CallsTest do
  use AMDGPUFramework.E2ECase, async: false

  @moduletag timeout: 180_000

  setup do
    broker = TestBroker.start!()

    manager =
      start_manager(Standalone.info(broker), connection_timeout: 2_000, operation_timeout: 3_000)

    [broker: broker, manager: manager, topic: TestBroker.topic("calls")]
  end

  test "nothing leaks into the mailbox of who gave up, and nothing waits for ever", context do
    %{manager: manager, topic: topic, broker: broker} = context
    quick = producer!(manager, topic, send_timeout: 1_500)
    full = producer!(manager, topic, max_pending_messages: 2, send_timeout: 0)
    consumer = consumer!(manager, topic)
    closed = lookup!(quick)
    :ok = Standalone.kill(broker)

    # Sent and not confirmed.
    assert {:error, :send_timeout} = PulsarManager.send_message(quick, "x", timeout: 30)
    assert {:error, :send_timeout} = PulsarManager.send_message(quick, "x")

    assert {:error, {:send_timeout, results}} =
             PulsarManager.send_messages(quick, ["a", {"b", key: "k"}, nil])

    assert results == List.duplicate({:error, :send_timeout}, 3)
    assert :ok = PulsarManager.flush(quick)

    # Never left the caller.
    {:ok, first} = PulsarManager.send_messages_async(full, ["1", "2"])
    assert {:error, :queue_full} = PulsarManager.send_message(full, "3", timeout: 30)

    for call <- [
          fn -> PulsarManager.seek(consumer, :earliest) end,
          fn -> PulsarManager.unsubscribe(consumer) end,
          fn -> PulsarManager.create_producer("other", manager: manager, timeout: 50) end,
          fn -> PulsarManager.create_consumer("other", "s", manager: manager, timeout: 50) end
        ] do
      assert {:error, _} = call.()
    end

    assert {:ok, %{connected: false}} = PulsarManager.health(manager)
    assert :ok = PulsarManager.close(quick)
    assert {:error, :closed} = PulsarManager.send_message(closed, "x")
    assert :ok = PulsarManager.close(consumer)

    :ok = Standalone.restart(broker)
    assert_receive {^first, {:ok, [_, _]}}, 60_000
    assert {:ok, _} = PulsarManager.send_message(full, "4")
    refute answered?(200)
  end

  test "the bound is exact, and those who wait go in order", context do
    %{manager: manager, topic: topic, broker: broker} = context
    consumer = consumer!(manager, topic, :exclusive)
    strict = producer!(manager, topic, max_pending_messages: 10, block: false, send_timeout: 0)
    patient = producer!(manager, topic, max_pending_messages: 10, send_timeout: 0)
    :ok = Standalone.kill(broker)

    refs = for n <- 1..8, do: PulsarManager.send_async(strict, "strict #{n}")
    assert Enum.all?(refs, &match?({:ok, _}, &1))
    assert {:error, :queue_full} = PulsarManager.send_messages_async(strict, ["9", "10", "11"])
    assert {:ok, _} = PulsarManager.send_messages_async(strict, ["strict 9", "strict 10"])
    assert {:error, :queue_full} = PulsarManager.send_async(strict, "11")

    assert {:error, {:queue_full, [{:error, :queue_full}]}} =
             PulsarManager.send_messages(strict, ["11"])

    assert {:ok, %{pending_messages: 10}} = PulsarManager.stats(strict)

    {:ok, _} = PulsarManager.send_messages_async(patient, List.duplicate("first", 10))
    test = self()

    waiting =
      for n <- 1..6 do
        pid =
          spawn(fn -> send(test, {n, PulsarManager.send_message(patient, "waiting #{n}")}) end)

        assert eventually(fn -> Process.info(pid, :status) == {:status, :waiting} end)
        pid
      end

    # Who dies while waiting sends nothing.
    for n <- [2, 5], do: Process.exit(Enum.at(waiting, n - 1), :kill)
    assert {:error, :queue_full} = PulsarManager.send_message(patient, "gave up", timeout: 50)

    :ok = Standalone.restart(broker)
    for n <- [1, 3, 4, 6], do: assert_receive({^n, {:ok, %MessageId{}}}, 60_000)

    :ok = PulsarManager.flush(strict)
    received = consumer |> receive_rest(patient) |> payloads()
    assert for("waiting " <> n <- received, do: n) == ["1", "3", "4", "6"]
    assert for("strict " <> n <- received, do: n) == Enum.map(1..10, &to_string/1)
    refute "gave up" in received
    refute_received {2, _}
  end

  test "a producer that closes answers those who wait, and dead waiters leave nothing", context do
    %{manager: manager, topic: topic, broker: broker} = context
    producer = producer!(manager, topic, max_pending_messages: 1, send_timeout: 1_000)
    handle = lookup!(producer)
    :ok = Standalone.kill(broker)
    {:ok, sent} = PulsarManager.send_async(producer, "sent")
    test = self()

    for n <- 1..3, do: spawn(fn -> send(test, {n, PulsarManager.send_message(handle, "w")}) end)
    doomed = for _ <- 1..500, do: spawn(fn -> PulsarManager.send_message(handle, "doomed") end)

    for pid <- doomed,
        do: assert(eventually(fn -> Process.info(pid, :status) in [{:status, :waiting}, nil] end))

    for pid <- doomed, do: Process.exit(pid, :kill)

    assert :ok = PulsarManager.close(producer)

    for n <- 1..3,
        do: assert_receive({^n, {:error, _reason}}, 10_000)

    assert_receive {^sent, {:error, :send_timeout}}, 10_000
    assert {:error, :closed} = PulsarManager.send_message(handle, "late")
    assert %{pending_messages: 0} = AMDGPUFramework.Messaging.Native.producer_stats(handle.native)
  end

  test "lists of any shape", context do
    %{manager: manager, topic: topic} = context
    producer = producer!(manager, topic, max_pending_messages: 1_000)
    consumer = consumer!(manager, topic, :exclusive)
    mib4 = :crypto.strong_rand_bytes(4 * 1_048_576)

    assert {:ok, []} = PulsarManager.send_messages(producer, [])
    assert {:ok, ref} = PulsarManager.send_messages_async(producer, [])
    assert_receive {^ref, {:ok, []}}

    list = [
      nil,
      "",
      <<0>>,
      {"k", key: "key", properties: %{"a" => "é"}},
      {nil, key: "gone"},
      mib4
    ]

    assert {:ok, ids} =
             PulsarManager.send_messages(producer, list ++ [{"o", ordering_key: <<255>>}])

    assert length(ids) == 7 and ids == Enum.sort(ids, {:asc, MessageId})

    received = receive_messages(consumer, 7)
    assert payloads(received) == [nil, "", <<0>>, "k", nil, mib4, "o"]
    assert Enum.map(received, & &1.message_id) == ids
    assert List.last(received).ordering_key == <<255>>
    :ok = PulsarManager.ack(consumer, received)

    for wrong <- [
          ["x" | "y"],
          ["x", 1],
          [{"x", [{:key, "k"} | 1]}],
          [{"x", %{key: 1}}],
          :x,
          {"x", []}
        ] do
      assert {:error, {:invalid_option, _, _, _}} = PulsarManager.send_messages(producer, wrong)

      assert {:error, {:invalid_option, _, _, _}} =
               PulsarManager.send_messages_async(producer, wrong)

      assert {:error, {:invalid_option, _, _, _}} = PulsarManager.ack(consumer, wrong)
    end

    for wrong <- [
          [{:timeout, 5_000_000_000}],
          [{:timeout, 1} | :x],
          [timeout: 0],
          [key: ""],
          %{1 => 2}
        ] do
      assert {:error, {:invalid_option, _, _, _}} =
               PulsarManager.send_message(producer, "x", wrong)
    end

    assert {:error, {:invalid_option, :count, _, _}} =
             PulsarManager.request(consumer, 5_000_000_000)

    assert {:error, {:invalid_option, :position, _, _}} =
             PulsarManager.seek(consumer, {:timestamp, Integer.pow(2, 70)})

    too_large = :crypto.strong_rand_bytes(6 * 1_048_576)
    assert {:error, :message_too_large} = PulsarManager.send_message(producer, too_large)

    # A bound far below the list: it goes in parts, in order.
    many = for n <- 1..100_000, do: <<n::32>>
    task = Task.async(fn -> PulsarManager.send_messages(producer, many) end)
    assert collect(consumer, 100_000, []) == many
    assert {:ok, ids} = Task.await(task, 60_000)
    assert length(ids) == 100_000 and ids == Enum.uniq(ids)
  end

  test "what a manager cannot use does not end it", context do
    %{manager: manager} = context

    for topic <- [<<255, 254>>, "", nil, 1, "a/b", [], ["t" | "x"], ["t", <<255>>], ["t", 1]] do
      assert {:error, {:invalid_option, _, _, _}} =
               PulsarManager.create_producer(topic, manager: manager)

      assert {:error, {:invalid_option, _, _, _}} =
               PulsarManager.create_consumer(topic, "s", manager: manager)
    end

    remote =
      :erlang.binary_to_term(<<131, 88, 100, 0, 5, "x@far", 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1>>)

    assert node(remote) == :x@far

    assert {:error, {:invalid_option, :owner, ^remote, _}} =
             PulsarManager.create_producer("t", manager: manager, owner: remote)

    assert Process.alive?(manager)
  end

  defp lookup!(id) do
    {:ok, handle} = PulsarManager.lookup(id)
    handle
  end

  defp answered?(timeout) do
    receive do
      {ref, _} when is_reference(ref) -> true
    after
      timeout -> false
    end
  end

  defp collect(_consumer, 0, received), do: received |> Enum.reverse() |> Enum.concat()

  defp collect(consumer, count, received) do
    receive do
      {:pulsar_messages, ^consumer, messages} ->
        :ok = PulsarManager.ack(consumer, messages)
        collect(consumer, count - length(messages), [payloads(messages) | received])
    after
      30_000 -> flunk("#{count} did not come")
    end
  end
end
