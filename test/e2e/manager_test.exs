defmodule AMDGPUFramework.E2E.ManagerTest do
  use AMDGPUFramework.E2ECase, async: false

  alias AMDGPUFramework.Messaging.JSON

  setup_all do
    [broker: TestBroker.shared()]
  end

  setup %{broker: broker},
    do: [manager: start_manager(broker), topic: TestBroker.topic("manager")]

  describe "creating" do
    test "reports what was created, to subscribers", %{manager: manager, topic: topic} do
      producer = producer!(manager, topic)
      assert_receive {:pulsar_event, %{event_type: "producer_created"} = created}, 30_000
      assert %{producer_id: ^producer, topic: ^topic, manager: ^manager} = created

      consumer = consumer!(manager, topic)
      assert_receive {:pulsar_event, %{event_type: "consumer_created"} = created}, 30_000
      assert %{consumer_id: ^consumer, topics: [^topic], subscription: "test"} = created

      :ok = PulsarManager.close(producer)
      :ok = PulsarManager.close(consumer)
      assert_receive {:pulsar_event, %{event_type: "producer_closed"}}, 30_000
      assert_receive {:pulsar_event, %{event_type: "consumer_closed"}}, 30_000
    end

    test "a given name is the id, and taken while it is open", %{manager: manager, topic: topic} do
      id = "name-#{System.unique_integer([:positive])}"
      options = [manager: manager]
      assert {:ok, ^id} = PulsarManager.create_producer(topic, id, options)
      assert {:error, {:already_exists, ^id}} = PulsarManager.create_producer(topic, id, options)

      assert {:error, {:already_exists, ^id}} =
               PulsarManager.create_consumer(topic, "s", id, :shared, options)

      :ok = PulsarManager.close(id)
      assert {:ok, ^id} = PulsarManager.create_consumer(topic, "s", id, :shared, options)
    end

    test "what the broker refuses is an error with its words", %{manager: manager, topic: topic} do
      missing = "persistent://public/no-such-namespace/t"

      assert {:error, {:broker, :topic_not_found, text}} =
               PulsarManager.create_producer(missing, manager: manager)

      assert text =~ ~r/namespace/i

      _first = consumer!(manager, topic, :exclusive)
      options = [manager: manager]

      assert {:error, {:broker, :consumer_busy, text}} =
               PulsarManager.create_consumer(topic, "test", nil, :exclusive, options)

      assert text =~ ~r/exclusive/i
    end

    test "many at a time is as good as one after the other", %{manager: manager, topic: topic} do
      ids =
        1..50
        |> Task.async_stream(fn n -> producer!(manager, "#{topic}-#{rem(n, 5)}") end,
          max_concurrency: 50,
          timeout: 60_000
        )
        |> Enum.map(fn {:ok, id} -> id end)

      assert ids |> Enum.uniq() |> length() == 50
      for id <- ids, do: assert({:ok, _} = PulsarManager.send_message(id, "x"))
    end
  end

  test "health says how the broker is", %{manager: manager, broker: broker} do
    url = broker.service_url

    assert {:ok, %{connected: true, connections: n, service_url: ^url, error: nil}} =
             PulsarManager.health(manager)

    assert n > 0
  end

  test "a manager without a broker starts at once, and says so when asked" do
    {:ok, socket} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(socket)
    :ok = :gen_tcp.close(socket)
    nowhere = %{service_url: "pulsar://127.0.0.1:#{port}", admin_url: "http://127.0.0.1:#{port}"}
    manager = start_manager(nowhere, connection_timeout: 2_000, operation_timeout: 2_000)

    assert {:ok, %{connected: false, error: error}} = PulsarManager.health(manager)
    assert is_binary(error)

    assert {:error, reason} = PulsarManager.create_producer("t", manager: manager, timeout: 3_000)
    assert match?({:connect, _}, reason) or reason == :producer_creation_timeout
  end

  test "managers stand side by side", %{broker: broker, topic: topic} do
    name = :"manager_#{System.unique_integer([:positive])}"
    named = start_manager(broker, name: name, tenant: "public", namespace: "default")
    "persistent://public/default/" <> short = topic

    {:ok, producer} = PulsarManager.create_producer(short, manager: name)
    {:ok, consumer} = PulsarManager.create_consumer(topic, "s", manager: named)
    {:ok, _} = PulsarManager.send_message(producer, "x")
    assert ["x"] = payloads(receive_messages(consumer, 1))
    assert {:ok, %{name: ^name}} = PulsarManager.stats(name)

    :ok = GenServer.stop(named)
    assert eventually(fn -> PulsarManager.lookup(producer) == {:error, :not_found} end)
    assert {:error, :manager_not_running} = PulsarManager.create_producer(short, manager: name)
  end

  test "the calls of the documents work as they are written", %{broker: broker} do
    start_manager(broker, name: PulsarManager)
    {:ok, compute_producer} = PulsarManager.create_producer("compute-operations")

    {:ok, results_consumer} =
      PulsarManager.create_consumer(["compute-results"], "amdgpu-results-subscription")

    assert is_binary(compute_producer) and is_binary(results_consumer)

    {:ok, "compute_producer_1"} =
      PulsarManager.create_producer("compute-operations", "compute_producer_1")

    {:ok, reader} =
      PulsarManager.create_consumer(["compute-operations"], "readers", nil, :exclusive,
        initial_position: :earliest
      )

    compute_message = %{
      operation_type: "matrix_multiply",
      gpu_device_id: "amd_rdna3_0",
      input_data: Base.encode64("matrix_data_here"),
      user_id: "user_123",
      parameters: %{matrix_size: 1024, precision: "float32"}
    }

    {:ok, message_id} = PulsarManager.send_compute_message("compute_producer_1", compute_message)
    assert "#{message_id}" =~ ~r/^\d+:\d+:-1:-?\d+$/

    assert %{properties: %{"message_type" => "compute_operation"}} =
             message = receive_message(reader)

    assert {:ok, sent} = JSON.decode(message.payload)
    assert sent["parameters"] == %{"matrix_size" => 1024, "precision" => "float32"}
    assert sent["message_id"] =~ ~r/^[0-9a-f-]{36}$/
    assert %{"source" => "amdgpu_framework", "version" => "1.0", "timestamp" => t} = sent
    assert is_integer(t)
  end

  test "lineage and metrics messages are checked and sent", %{manager: manager, topic: topic} do
    producer = producer!(manager, topic)
    consumer = consumer!(manager, topic, :exclusive)

    lineage = %{transformation_id: "t1", source_datasets: ["a"], destination_datasets: ["b"]}
    assert {:ok, _} = PulsarManager.send_data_lineage_message(producer, lineage)

    metrics = %{"benchmark_name" => "gemm", "execution_time_ms" => 12, "memory_usage_mb" => 96}
    assert {:ok, _} = PulsarManager.send_performance_metrics_message(producer, metrics)

    assert {:error, {:validation_failed, {:missing_field, :user_id}}} =
             PulsarManager.send_compute_message(producer, %{
               operation_type: "sha256",
               gpu_device_id: "any",
               input_data: ""
             })

    sent =
      for message <- receive_messages(consumer, 2) do
        {:ok, sent} = JSON.decode(message.payload)
        {message.properties["message_type"], sent}
      end

    assert [
             {"data_lineage", %{"source_datasets" => ["a"]}},
             {"performance_metrics", %{"benchmark_name" => "gemm"}}
           ] = sent
  end

  test "message_published counts for a producer and second", %{manager: manager, topic: topic} do
    producer = producer!(manager, topic)
    {:ok, _} = PulsarManager.send_messages(producer, List.duplicate("12345", 1_500))

    assert_receive {:pulsar_event,
                    %{event_type: "message_published", producer_id: ^producer} = event},
                   30_000

    assert %{count: count, failed: 0, bytes: bytes} = event
    assert count in 1..1_500 and bytes >= count * 5
  end

  test "as the owner, a manager publishes what a consumer receives", %{
    manager: manager,
    topic: topic
  } do
    consumer = consumer!(manager, topic, :shared, owner: manager)
    :ok = AMDGPUFramework.Messaging.PubSub.subscribe("pulsar_messages:#{consumer}")
    {:ok, _} = PulsarManager.send_message(producer!(manager, topic), "published")

    assert_receive {:pulsar_messages, ^consumer, [%Message{payload: "published"}]}, 30_000
    assert eventually(fn -> match?({:ok, %{acked: 1}}, PulsarManager.stats(consumer)) end)
  end

  test "an orderly stop drains what was sent and keeps what was acknowledged", %{
    broker: broker,
    topic: topic
  } do
    manager = start_manager(broker)
    options = [manager: manager, batch_delay: 60_000]
    {:ok, producer} = PulsarManager.create_producer(topic, nil, options)
    consumer = consumer!(manager, topic, :exclusive, ack_group_time: 10_000)
    {:ok, _} = PulsarManager.send_message(producer, "acknowledged")
    message = receive_message(consumer)
    refs = for n <- 1..200, do: elem({:ok, _} = PulsarManager.send_async(producer, "#{n}"), 1)
    :ok = PulsarManager.ack(consumer, message)

    :ok = GenServer.stop(manager)

    for ref <- refs, do: assert_received({^ref, {:ok, %MessageId{}}})
    again = consumer!(start_manager(broker), topic, :exclusive)
    assert payloads(receive_messages(again, 200)) == Enum.map(1..200, &Integer.to_string/1)
  end
end
