defmodule AMDGPUFramework.E2E.GpuProcessingTest do
  use AMDGPUFramework.E2ECase, async: false

  alias AMDGPUFramework.Messaging.{JSON, ProcessedMessage, PubSub}

  setup_all do
    [broker: TestBroker.shared()]
  end

  setup %{broker: broker} do
    input = TestBroker.topic("gpu-input")
    output = TestBroker.topic("gpu-output")
    manager = start_manager(broker)

    [
      manager: manager,
      input: input,
      output: output,
      consumer: consumer!(manager, input),
      results: consumer!(manager, output, :exclusive),
      producer: producer!(manager, input),
      forward: %{type: "forward_to_topic", topic: output}
    ]
  end

  test "what the owner acknowledges while the pipeline runs is ignored, and its own again afterwards",
       context do
    %{consumer: consumer, producer: producer} = context
    {:ok, _} = PulsarManager.send_message(producer, "kept")
    message = receive_message(consumer)

    # The batch waits for company that never comes: its message stays without effect.
    waiting = %{processing_type: "compute_operation", batch_timeout_ms: 60_000}
    :ok = PulsarManager.start_gpu_processing(consumer, waiting)

    assert eventually(fn ->
             {:ok, stats} = PulsarManager.stats(consumer)
             stats.gpu_processing.in_flight == 1
           end)

    :ok = PulsarManager.ack(consumer, message)
    :ok = PulsarManager.stop_gpu_processing(consumer)

    again = receive_message(consumer)
    assert again.payload == "kept"
    :ok = PulsarManager.ack(consumer, again)

    assert eventually(fn ->
             subscription_stats(context.broker, context.input)["msgBacklog"] == 0
           end)
  end

  test "results go to the topic, to the owner and to PubSub, and inputs are acknowledged",
       context do
    %{consumer: consumer} = context
    :ok = PubSub.subscribe("gpu_processed_messages:#{consumer}")
    :ok = start(context)
    id = send_sum(context.producer, [1, 2, 3, 4], "c-1")

    result = receive_message(context.results)
    assert {:ok, document} = JSON.decode(result.payload)

    assert %{"status" => "ok", "correlation_id" => "c-1", "operation_type" => "vector_add"} =
             document

    assert %{"type" => "float32", "shape" => [2], "data" => data} = document["result"]
    assert Base.decode64!(data) == float32([4, 6])
    assert %{"backend" => backend, "name" => name} = document["device"]
    assert is_binary(backend) and is_binary(name)

    assert_receive {:gpu_processed_messages, ^consumer, [%ProcessedMessage{} = processed]}, 30_000
    assert processed.original_message_id == id
    assert processed.processed_data == result.payload
    assert processed.error == nil

    assert %{gpu_device_id: device, backend: _, batch_size: size, processing_time_ms: time} =
             processed.metadata

    assert device =~ ~r/^\w+:\d+$/ and size >= 1 and time >= 0

    assert_receive {:gpu_processed_message, ^processed}, 30_000
    assert_receive {:gpu_processed_message, ^consumer, ^processed}, 30_000

    assert_receive {:pulsar_event,
                    %{event_type: "gpu_processing_started", consumer_id: ^consumer}},
                   30_000

    assert_receive {:pulsar_event,
                    %{event_type: "gpu_processing_completed", consumer_id: ^consumer} = done},
                   30_000

    assert %{count: 1, failed: 0, processing_time_us: _} = done

    assert eventually(fn ->
             subscription_stats(context.broker, context.input)["msgBacklog"] == 0
           end)

    refute_received {:pulsar_messages, ^consumer, _}
  end

  test "every input has one result, in batches of many and beyond the window", context do
    :ok = start(context, batch_size: 64)
    count = 3_000

    payloads =
      for n <- 1..count do
        {:ok, payload} =
          AMDGPUFramework.Messaging.ComputeMessage.encode(%{
            operation_type: "sha256",
            gpu_device_id: "any",
            input_data: Base.encode64("#{n}"),
            user_id: "u",
            correlation_id: "#{n}"
          })

        payload
      end

    {:ok, _} = PulsarManager.send_messages(context.producer, payloads)
    digests = collect_digests(context.results, count, %{})
    assert digests == Map.new(1..count, &{"#{&1}", :crypto.hash(:sha256, "#{&1}")})
  end

  test "stopping gives the consumer back to its owner", context do
    %{consumer: consumer, producer: producer} = context
    :ok = start(context)
    send_sum(producer, [1, 1], "in the pipeline")
    _ = receive_message(context.results)

    assert :ok = PulsarManager.stop_gpu_processing(consumer)

    assert_receive {:pulsar_event,
                    %{event_type: "gpu_processing_stopped", consumer_id: ^consumer}},
                   30_000

    assert {:error, :gpu_processing_not_started} = PulsarManager.stop_gpu_processing(consumer)

    {:ok, _} = PulsarManager.send_message(producer, "for the owner")
    message = receive_message(consumer)
    assert message.payload == "for the owner"
    :ok = PulsarManager.ack(consumer, message)

    :ok = start(context)
    send_sum(producer, [1, 1], "again")

    assert {:ok, %{"correlation_id" => "again"}} =
             JSON.decode(receive_message(context.results).payload)
  end

  test "what the owner holds when processing starts goes through the pipeline", context do
    send_sum(context.producer, [1, 2], "held")
    [held] = receive_messages(context.consumer, 1)
    :ok = start(context)
    # The pipeline has it now: this acknowledges nothing.
    PulsarManager.ack(context.consumer, held)

    assert {:ok, %{"correlation_id" => "held"}} =
             JSON.decode(receive_message(context.results).payload)
  end

  test "a message that cannot be computed is told, and the others go on", context do
    %{consumer: consumer} = context
    :ok = start(context)
    {:ok, bad} = PulsarManager.send_message(context.producer, "not JSON")
    send_sum(context.producer, [1, 2], "good")

    assert {:ok, %{"correlation_id" => "good"}} = good_result(context.results)
    assert %ProcessedMessage{error: error, processed_data: nil} = processed_of(consumer, bad)
    assert is_binary(error)
  end

  test "a producer of the user's own can carry the results", context do
    producer = producer!(context.manager, context.output)
    strategy = %{"type" => "forward_to_topic", "producer_id" => producer}

    :ok =
      PulsarManager.start_gpu_processing(context.consumer, %{
        "processing_type" => "compute_operation",
        "output_strategy" => strategy
      })

    send_sum(context.producer, [5, 6], "own")
    assert %{producer_name: ^producer} = receive_message(context.results)
  end

  test "closing a consumer ends its processing", context do
    :ok = start(context)
    :ok = PulsarManager.close(context.consumer)
    assert {:error, :consumer_not_found} = PulsarManager.stop_gpu_processing(context.consumer)
  end

  test "a configuration that cannot work is refused", context do
    %{consumer: consumer, broker: broker} = context
    start = &PulsarManager.start_gpu_processing(consumer, &1)

    assert {:error, {:unsupported_processing_type, "ml_inference"}} =
             start.(%{processing_type: "ml_inference"})

    assert {:error, {:invalid_option, :batch_size, 0, _}} =
             start.(processing_type: "compute_operation", batch_size: 0)

    assert {:error, {:unsupported_output, "send_to_blockchain"}} =
             start.(
               processing_type: "compute_operation",
               output_strategy: %{type: "send_to_blockchain"}
             )

    assert {:error, {:invalid_option, _, _, _}} =
             start.(processing_type: "compute_operation", parameters: %{algorithm: "sha256"})

    :ok = start(context)
    assert {:error, {:already_exists, ^consumer}} = start.(processing_type: "compute_operation")

    disabled = start_manager(broker, gpu_processing: [enabled: false])
    other = consumer!(disabled, context.input, :shared, subscription: "disabled")
    config = %{processing_type: "compute_operation"}

    assert {:error, :gpu_processing_not_enabled} =
             PulsarManager.start_gpu_processing(other, config)
  end

  test "the devices say what they are" do
    assert [%{id: id, backend: backend, health: :ok} | _] = AMDGPUFramework.Compute.GPU.devices()
    assert id =~ ~r/^\w+:\d+$/ and backend in [:cpu, :hip, :cuda]
  end

  defp start(context, options \\ []) do
    config = [processing_type: "compute_operation", output_strategy: context.forward] ++ options
    PulsarManager.start_gpu_processing(context.consumer, config)
  end

  defp send_sum(producer, numbers, correlation_id) do
    {:ok, id} =
      PulsarManager.send_compute_message(producer, %{
        operation_type: "vector_add",
        gpu_device_id: "any",
        input_data: Base.encode64(float32(numbers)),
        user_id: "u",
        correlation_id: correlation_id
      })

    id
  end

  defp float32(numbers), do: for(n <- numbers, into: <<>>, do: <<n::float-32-little>>)

  defp collect_digests(_results, count, digests) when map_size(digests) == count, do: digests

  defp collect_digests(results, count, digests) do
    messages = receive_messages(results, 1)
    :ok = PulsarManager.ack(results, messages)

    digests =
      Enum.reduce(messages, digests, fn message, digests ->
        {:ok, %{"correlation_id" => id, "result" => result}} = JSON.decode(message.payload)
        Map.put(digests, id, Base.decode64!(result["data"]))
      end)

    collect_digests(results, count, digests)
  end

  # What stands in the topic for a message that failed is not this test's matter.
  defp good_result(results) do
    case JSON.decode(receive_message(results).payload) do
      {:ok, %{"status" => "ok"}} = good -> good
      _ -> good_result(results)
    end
  end

  defp processed_of(consumer, id) do
    receive do
      {:gpu_processed_messages, ^consumer, processed} ->
        Enum.find(processed, &(&1.original_message_id == id)) || processed_of(consumer, id)
    after
      30_000 -> flunk("no result for #{id}")
    end
  end
end
