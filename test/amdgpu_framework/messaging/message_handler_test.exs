defmodule AMDGPUFramework.Messaging.MessageHandlerTest do
  use ExUnit.Case, async: true

  alias AMDGPUFramework.Messaging.{Handle, MessageHandler, ProcessedMessage, PubSub}

  # The callbacks, without a device: what a handler does with results, deadlines and ends.

  setup do
    number = System.unique_integer([:positive])
    id = "consumer_#{number}"
    pubsub = :"pubsub_#{number}"

    handle = %Handle{
      kind: :consumer,
      id: id,
      native: make_ref(),
      manager: :"no_manager_#{number}",
      instance: number
    }

    options = %{consumer: handle, client: make_ref(), config: %{}, owner: self(), pubsub: pubsub}
    {:ok, id: id, state: %MessageHandler{options: options, ref: make_ref()}, pubsub: pubsub}
  end

  @processed [%ProcessedMessage{processed_data: "1"}, %ProcessedMessage{processed_data: "2"}]

  defp messages do
    {:messages, messages} = Process.info(self(), :messages)
    messages
  end

  test "results go to PubSub one by one and to the owner as a list", %{
    id: id,
    state: state,
    pubsub: pubsub
  } do
    [first, second] = @processed
    :ok = PubSub.subscribe(pubsub, "gpu_processed_messages:#{id}")

    assert {:noreply, _} =
             MessageHandler.handle_info({:gpu_processed_messages, id, @processed}, state)

    assert messages() == [
             {:gpu_processed_message, first},
             {:gpu_processed_message, second},
             {:gpu_processed_messages, id, @processed}
           ]
  end

  test "the manager gets them one by one, also where it is the owner, and then only so", %{
    id: id,
    state: state
  } do
    [first, second] = @processed
    state = put_in(state.options.consumer.manager, self())

    assert {:noreply, _} =
             MessageHandler.handle_info({:gpu_processed_messages, id, @processed}, state)

    assert messages() == [
             {:gpu_processed_message, id, first},
             {:gpu_processed_message, id, second}
           ]
  end

  test "credits for results that come before the processor wait for it", %{id: id, state: state} do
    assert {:noreply, state} =
             MessageHandler.handle_info({:gpu_processed_messages, id, @processed}, state)

    assert {:noreply, %{owed: 4}} =
             MessageHandler.handle_info({:gpu_processed_messages, id, @processed}, state)
  end

  test "who waits for the start is told of its failure, and the handler ends", %{state: state} do
    tag = make_ref()

    assert {:noreply, state} =
             MessageHandler.handle_call({:await_started, 60_000}, {self(), tag}, state)

    error = {:error, :queue_submission_failed}
    assert {:stop, :normal, _} = MessageHandler.handle_info({state.ref, error}, state)
    assert_received {^tag, ^error}
  end

  test "a start that was refused at once is told to who asks", %{state: state} do
    error = {:error, :closed}

    assert {:stop, :normal, ^error, _} =
             MessageHandler.handle_call({:await_started, 1}, {self(), make_ref()}, %{
               state
               | phase: {:failed, error}
             })
  end

  test "a start that takes too long is a timeout, and what comes later is told to nobody", %{
    state: state
  } do
    tag = make_ref()
    {:noreply, state} = MessageHandler.handle_call({:await_started, 60_000}, {self(), tag}, state)
    assert {:noreply, state} = MessageHandler.handle_info(:start_timeout, state)
    assert_received {^tag, {:error, :gpu_processing_start_timeout}}

    assert {:stop, :normal, _} =
             MessageHandler.handle_info({state.ref, {:error, :timeout}}, state)

    refute_received {^tag, _}
  end

  test "the handler ends with its consumer", %{state: state} do
    tag = make_ref()

    assert {:stop, :normal, _} =
             MessageHandler.handle_cast(:consumer_closed, %{state | waiting: [{self(), tag}]})

    assert_received {^tag, {:error, :closed}}
  end

  test "stopping what was not started", %{state: %{options: %{consumer: consumer}}} do
    assert {:error, :gpu_processing_not_started} = MessageHandler.stop(consumer, 100)
    assert {:error, :gpu_processing_not_started} = MessageHandler.stats(consumer)
  end
end
