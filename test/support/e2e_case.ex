defmodule AMDGPUFramework.E2ECase do
  @moduledoc """
  For tests that send and receive through a real broker.

      use AMDGPUFramework.E2ECase, async: true

      setup_all do
        [broker: TestBroker.shared()]
      end

      setup %{broker: broker}, do: [manager: start_manager(broker)]

  """

  use ExUnit.CaseTemplate

  alias AMDGPUFramework.Messaging.PulsarManager
  alias AMDGPUFramework.TestBroker

  @patience 30_000

  using do
    quote do
      import AMDGPUFramework.E2ECase
      import AMDGPUFramework.Eventually

      alias AMDGPUFramework.Messaging.{Message, MessageId, PulsarManager}
      alias AMDGPUFramework.{Standalone, TestBroker}

      @moduletag :e2e
    end
  end

  @doc "Starts a manager of the test's own for a broker and subscribes the test to its events; returns its pid."
  def start_manager(broker, options \\ []) do
    config = [
      name: nil,
      broker_service_url: broker.service_url,
      admin_service_url: broker.admin_url
    ]

    child = {PulsarManager, Keyword.merge(config, options)}
    spec = Supervisor.child_spec(child, id: make_ref(), restart: :temporary)
    manager = start_supervised!(spec)
    :ok = PulsarManager.subscribe(manager)
    manager
  end

  @doc "Creates a producer and returns its id."
  def producer!(manager, topic, options \\ []) do
    {:ok, producer} = PulsarManager.create_producer(topic, nil, [manager: manager] ++ options)
    producer
  end

  @doc "Creates a consumer, from the earliest message unless the options say otherwise, and returns its id."
  def consumer!(manager, topics, sub_type \\ :shared, options \\ []) do
    {subscription, options} = Keyword.pop(options, :subscription, "test")
    options = Keyword.merge([manager: manager, initial_position: :earliest], options)

    {:ok, consumer} = PulsarManager.create_consumer(topics, subscription, nil, sub_type, options)

    consumer
  end

  @doc "Receives at least so many messages, without acknowledging."
  def receive_messages(consumer, count, received \\ [])

  def receive_messages(_consumer, count, received) when count <= length(received), do: received

  def receive_messages(consumer, count, received) do
    receive do
      {:pulsar_messages, ^consumer, messages} ->
        receive_messages(consumer, count, received ++ messages)
    after
      @patience -> flunk("#{length(received)} of #{count} messages came: #{inspect(received)}")
    end
  end

  @doc "Receives one message."
  def receive_message(consumer) do
    [message] = receive_messages(consumer, 1)
    message
  end

  @doc """
  Sends a last message and returns what is received before it, which proves that nothing else is to come: on a topic
  without partitions, with one consumer, older messages are delivered first.
  """
  def receive_rest(consumer, producer) do
    marker = "marker #{System.unique_integer()}"
    {:ok, _} = PulsarManager.send_message(producer, marker)
    receive_until(consumer, marker, [])
  end

  @doc "The payloads of messages."
  def payloads(messages), do: Enum.map(messages, & &1.payload)

  @doc "What the broker's statistics say about a subscription of a topic, or nil."
  def subscription_stats(broker, topic, subscription \\ "test") do
    "persistent://" <> path = topic
    {200, body} = TestBroker.request(broker, :get, "/admin/v2/persistent/#{path}/stats")
    {:ok, stats} = AMDGPUFramework.Messaging.JSON.decode(body)
    stats["subscriptions"][subscription]
  end

  @doc "Makes a topic partitioned, before anyone uses it."
  def create_partitions(broker, topic, count) do
    "persistent://" <> path = topic
    url = "/admin/v2/persistent/#{path}/partitions"
    {204, _} = TestBroker.request(broker, :put, url, "#{count}")
    topic
  end

  defp receive_until(consumer, marker, received) do
    receive do
      {:pulsar_messages, ^consumer, messages} ->
        case Enum.split_while(messages, &(&1.payload != marker)) do
          {all, []} -> receive_until(consumer, marker, received ++ all)
          {before, [_marker]} -> received ++ before
          {_before, [_marker | behind]} -> flunk("behind the last message: #{inspect(behind)}")
        end
    after
      @patience -> flunk("the last message did not come, but #{inspect(payloads(received))}")
    end
  end
end
