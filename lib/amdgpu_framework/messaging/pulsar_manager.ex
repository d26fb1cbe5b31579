defmodule AMDGPUFramework.Messaging.PulsarManager do
  @moduledoc """
  Apache Pulsar for Elixir applications: producers, consumers, and GPU processing of messages.

      children = [{PulsarManager, broker_service_url: "pulsar://localhost:6650"}]

      {:ok, producer} = PulsarManager.create_producer("orders")
      {:ok, consumer} = PulsarManager.create_consumer("orders", "billing")
      {:ok, message_id} = PulsarManager.send_message(producer, "first order", key: "customer 7")

      receive do
        {:pulsar_messages, ^consumer, messages} -> PulsarManager.ack(consumer, messages)
      end

  A manager is one connection to one cluster. It reconnects by itself, for ever; `health/1` says how it is. Sending and
  acknowledging do not pass through its process. Every function that takes an id takes the handle of `lookup/1` too.

  Topics may be named short: `"orders"` is `persistent://public/default/orders`, or in the configured tenant and
  namespace. Functions return `{:error, reason}` for what goes wrong; `AMDGPUFramework.Messaging.Error` lists the reasons.
  """

  alias AMDGPUFramework.Messaging.{ClusterConfig, Consumer, Creation, Error, Events}
  alias AMDGPUFramework.Messaging.{ComputeMessage, DataLineageMessage, PerformanceMetricsMessage}
  alias AMDGPUFramework.Messaging.{GpuPipelineConfig, GpuProcessing, Handle, Handles}
  alias AMDGPUFramework.Messaging.{ManagerServer, Message, MessageId, Options, Producer}

  @typedoc "A producer or consumer: its id, or the handle that `lookup/1` gives."
  @type id :: String.t() | Handle.t()
  @type message_id :: MessageId.t() | :already_stored
  @type result :: :ok | {:error, Error.reason()}
  @type to_acknowledge :: Message.t() | MessageId.t() | [Message.t() | MessageId.t()]

  @doc """
  Starts a manager. It does not wait for the broker.

      {:ok, _pid} = PulsarManager.start_link(broker_service_url: "pulsar://localhost:6650")
      {:ok, _pid} = PulsarManager.start_link(name: :other, broker_service_url: "pulsar+ssl://other:6651")

  In a supervision tree: `{PulsarManager, options}`. On an orderly stop producers are drained and acknowledgements flushed.

  ## Options

  #{Options.docs(Options.Cluster.schema())}

  Errors: `{:invalid_option, key, value, allowed}`, `{:already_started, pid}`.
  """
  @spec start_link(keyword | map) :: GenServer.on_start()
  def start_link(config \\ []) do
    with {:ok, config} <- ClusterConfig.new(config), do: ManagerServer.start_link(config)
  end

  @doc "The child specification: its id is the manager's name, and it may take `:shutdown_timeout` to stop."
  @spec child_spec(keyword | map) :: Supervisor.child_spec()
  def child_spec(config), do: ManagerServer.child_spec(config)

  @doc """
  Creates a producer for a topic. Its id is `name`, or `producer_<uuid>`; the broker shows it under the same name.

      {:ok, producer} = PulsarManager.create_producer("compute-operations")
      {:ok, "orders_1"} = PulsarManager.create_producer("orders", "orders_1", compression: :zstd, batch_delay: 5)
      {:ok, producer} = PulsarManager.create_producer("orders", block: false)

  ## Options

  #{Options.docs(Options.Producer.schema())}

  Errors: `:producer_creation_timeout`, `{:already_exists, id}`, `{:invalid_option, …}`, `{:broker, code, text}`, `:manager_not_running`.
  """
  @spec create_producer(String.t(), String.t() | nil | keyword, keyword | map) ::
          {:ok, String.t()} | {:error, Error.reason()}
  def create_producer(topic, name \\ nil, opts \\ [])

  def create_producer(topic, opts, []) when is_list(opts), do: create_producer(topic, nil, opts)

  def create_producer(topic, name, opts) do
    with {:ok, creation} <- Creation.producer(topic, name, opts),
         do: ManagerServer.create(creation)
  end

  @doc """
  Subscribes to a topic or to several. The id is `name`, or `consumer_<uuid>`.

      {:ok, consumer} = PulsarManager.create_consumer("orders", "billing")
      {:ok, "c1"} = PulsarManager.create_consumer(["orders", "refunds"], "billing", "c1", :key_shared, initial_position: :earliest)

  The owner (by default the calling process) gets `{:pulsar_messages, consumer_id, [%Message{}]}` and acknowledges with `ack/2`;
  what it does not acknowledge comes back after it has died. The consumer closes with its owner.

  Subscription types: `:shared` gives each message to one of the consumers; `:key_shared` too, and all messages of a key to the
  same one, in order; `:failover` gives all to one, and another takes over; `:exclusive` admits one consumer only. A batch travels
  whole, by the key of its first message: a producer for `:key_shared` consumers sends with `batch_size: 1`.

  ## Options

  #{Options.docs(Options.Consumer.schema())}

  Errors: `:consumer_creation_timeout`, `{:already_exists, id}`, `{:invalid_option, …}`, `{:broker, :consumer_busy, text}`, `:manager_not_running`.
  """
  @spec create_consumer(
          String.t() | [String.t()],
          String.t(),
          String.t() | nil | keyword,
          atom | String.t() | keyword,
          keyword | map
        ) :: {:ok, String.t()} | {:error, Error.reason()}
  def create_consumer(topics, subscription, name \\ nil, sub_type \\ :shared, opts \\ [])

  def create_consumer(topics, subscription, opts, :shared, []) when is_list(opts),
    do: create_consumer(topics, subscription, nil, :shared, opts)

  def create_consumer(topics, subscription, name, opts, []) when is_list(opts),
    do: create_consumer(topics, subscription, name, :shared, opts)

  def create_consumer(topics, subscription, name, sub_type, opts) do
    with {:ok, creation} <- Creation.consumer(topics, subscription, name, sub_type, opts),
         do: ManagerServer.create(creation)
  end

  @doc """
  Sends a message and waits until the broker has stored it. A `nil` payload is a tombstone.

      {:ok, message_id} = PulsarManager.send_message(producer, "data", key: "k", properties: %{"source" => "sensor"})

  Many messages go faster with `send_messages/2`, or from many processes: one at a time costs a round trip each.

  ## Options

  #{Options.docs(Options.Send.schema_with_timeout())}

  Errors: `:producer_not_found`, `:send_timeout` (outcome unknown), `:queue_full`, `:duplicate`, `:closed`, `{:invalid_option, …}`, `{:broker, …}`.
  With the broker's deduplication, `{:ok, :already_stored}` is a message that a reconnect sent a second time.
  """
  @spec send_message(id, binary | nil, keyword | map) ::
          {:ok, message_id} | {:error, Error.reason()}
  def send_message(producer, payload, opts \\ []),
    do: Producer.send_message(producer, payload, opts)

  @doc """
  Sends a list, in order, and waits until all of it is stored. Elements are payloads or `{payload, options}` as in `send_message/3`.

      {:ok, [_, _]} = PulsarManager.send_messages(producer, ["one", {"two", key: "k"}])

  Errors: `{:error, {reason, partial}}`, where `partial` has `{:ok, id}` or `{:error, reason}` for each message, in order; before
  anything was sent `:producer_not_found` and `{:invalid_option, …}`.
  """
  @spec send_messages(id, [binary | nil | {binary | nil, keyword | map}]) ::
          {:ok, [message_id]} | {:error, Error.reason() | {Error.reason(), list}}
  def send_messages(producer, messages), do: Producer.send_messages(producer, messages)

  @doc """
  Sends a list and does not wait for the broker: one `{ref, {:ok, ids}}` or `{ref, {:error, {reason, partial}}}` comes later.

      {:ok, ref} = PulsarManager.send_messages_async(producer, ["one", "two"])
      receive do: ({^ref, {:ok, ids}} -> ids)

  While the producer's queue is full it waits for room, or returns `{:error, :queue_full}` with `block: false`.
  """
  @spec send_messages_async(id, list) :: {:ok, reference} | {:error, Error.reason()}
  def send_messages_async(producer, messages),
    do: Producer.send_messages_async(producer, messages)

  @doc """
  Sends a message and does not wait for the broker: one `{ref, {:ok, id}}` or `{ref, {:error, reason}}` comes later.

      {:ok, ref} = PulsarManager.send_async(producer, "data", key: "k")

  Options and errors as in `send_message/3`, without `:timeout`.
  """
  @spec send_async(id, binary | nil, keyword | map) :: {:ok, reference} | {:error, Error.reason()}
  def send_async(producer, payload, opts \\ []), do: Producer.send_async(producer, payload, opts)

  @doc """
  Waits until everything sent before is confirmed or has failed.

      :ok = PulsarManager.flush(producer)

  Errors: `:producer_not_found`; `:timeout` a minute after the producer's `:send_timeout`, where nothing answers any more.
  """
  @spec flush(id) :: result
  def flush(producer), do: Producer.flush(producer)

  @doc """
  Acknowledges a message, an id, or a list: the broker does not deliver it to this subscription again.

      :ok = PulsarManager.ack(consumer, messages)

  It returns at once; acknowledgements travel in groups (`:ack_group_time`). Errors: `:consumer_not_found`, `:closed`, `{:invalid_option, …}`.
  """
  @spec ack(id, to_acknowledge) :: result
  def ack(consumer, messages), do: Consumer.ack(consumer, messages)

  @doc """
  Says that a message could not be handled: it is delivered again after `:nack_delay`.

      :ok = PulsarManager.nack(consumer, message)

  On `:exclusive` and `:failover` everything that is not acknowledged comes back with it, in order. Errors as of `ack/2`.
  """
  @spec nack(id, to_acknowledge) :: result
  def nack(consumer, messages), do: Consumer.nack(consumer, messages)

  @doc """
  Acknowledges a message and all before it on its topic. Only on `:exclusive` and `:failover`, else `{:error, :not_allowed}`.

      :ok = PulsarManager.ack_cumulative(consumer, List.last(messages))

  Other errors: `:consumer_not_found`, `:closed`, `{:invalid_option, …}`.
  """
  @spec ack_cumulative(id, Message.t() | MessageId.t()) :: result
  def ack_cumulative(consumer, message), do: Consumer.ack_cumulative(consumer, message)

  @doc """
  Moves the subscription, for all its consumers: `:earliest`, `:latest`, a message or its id, a `DateTime` or `{:timestamp, unix_ms}`.

      :ok = PulsarManager.seek(consumer, :earliest)

  After a seek to a message, what comes is what follows it: the message itself is not delivered again. A seek to a time starts
  with the first message published then or later. What was delivered before and not acknowledged is forgotten. Without a
  connection the move waits for one, at most `:operation_timeout`, then `{:error, :timeout}`.
  """
  @spec seek(
          id,
          :earliest | :latest | MessageId.t() | Message.t() | DateTime.t() | {:timestamp, integer}
        ) :: result
  def seek(consumer, position), do: Consumer.seek(consumer, position)

  @doc """
  Stops deliveries; what is on its way may still come.

      :ok = PulsarManager.pause(consumer)

  Errors: `:consumer_not_found`.
  """
  @spec pause(id) :: result
  def pause(consumer), do: Consumer.pause(consumer)

  @doc """
  Goes on after `pause/1`, or starts a consumer that was created with `paused: true`.

      :ok = PulsarManager.resume(consumer)

  Errors: `:consumer_not_found`.
  """
  @spec resume(id) :: result
  def resume(consumer), do: Consumer.resume(consumer)

  @doc """
  Asks for `count` more messages, on a consumer with `flow: :manual`; else `{:error, :not_allowed}`.

      :ok = PulsarManager.request(consumer, 100)

  Other errors: `:consumer_not_found`, `{:invalid_option, …}`.
  """
  @spec request(id, pos_integer) :: result
  def request(consumer, count), do: Consumer.request(consumer, count)

  @doc """
  Removes the subscription from the broker, with everything it had not acknowledged, and closes the consumer.

      :ok = PulsarManager.unsubscribe(consumer)

  Errors: `:consumer_not_found`, `:closed`, `:timeout` without the broker's answer, `{:broker, code, text}` where other consumers are connected.
  """
  @spec unsubscribe(id) :: result
  def unsubscribe(consumer), do: Consumer.unsubscribe(consumer)

  @doc """
  Closes a producer, after what it was sent is confirmed, or a consumer, after its acknowledgements are.

      :ok = PulsarManager.close(producer)

  Errors: `:not_found`, `:timeout`.
  """
  @spec close(id) :: result
  def close(id) do
    with {:ok, handle} <- Handles.fetch(id), do: module(handle).close(handle)
  end

  @doc """
  The handle of a producer or consumer: where an id is accepted, a handle saves looking it up.

      {:ok, handle} = PulsarManager.lookup("orders_1")
      {:ok, _} = PulsarManager.send_message(handle, "data")

  """
  @spec lookup(id) :: {:ok, Handle.t()} | {:error, :not_found}
  def lookup(id), do: Handles.fetch(id)

  @doc """
  Counts: of a producer or consumer by its id or handle (`topic` or `topics`, `created_at`, `message_count` and what the native side
  measures), of a manager by its name or pid.

      {:ok, %{message_count: 3}} = PulsarManager.stats(producer)
      {:ok, %{messages_published: _}} = PulsarManager.stats()

  """
  @spec stats(id | GenServer.server()) :: {:ok, map} | {:error, Error.reason()}
  def stats(id \\ __MODULE__)

  def stats(id) when is_binary(id) or is_struct(id, Handle) do
    with {:ok, handle} <- Handles.fetch(id),
         {:ok, info} <- Handles.info(handle),
         do: {:ok, Map.merge(info, module(handle).stats(handle))}
  end

  def stats(manager), do: ManagerServer.stats(manager)

  @doc """
  How the cluster is, by one cheap request: `connected`, `connections`, `service_url`, and `error` where there is one.

      {:ok, %{connected: true}} = PulsarManager.health()

  """
  @spec health(GenServer.server()) :: {:ok, map} | {:error, Error.reason()}
  def health(manager \\ __MODULE__), do: ManagerServer.health(manager)

  @doc """
  Subscribes the calling process to events: `{:pulsar_event, %{event_type: "consumer_disconnected", consumer_id: …, manager: …}}`.

      :ok = PulsarManager.subscribe()

  Event types: producer_created, producer_disconnected, producer_reconnected, producer_closed, message_published (at most one a second for each
  producer), consumer_created, consumer_disconnected, consumer_reconnected, consumer_stalled, consumer_closed, message_undecodable,
  gpu_processing_started, gpu_processing_completed (one a batch), gpu_processing_stopped. Subscribers also get `{:gpu_processed_message, consumer_id, message}`.
  A restart of the manager does not end it. Who has too many messages in the mailbox misses events.
  """
  @spec subscribe(GenServer.server()) :: :ok | {:error, :manager_not_running}
  def subscribe(manager \\ __MODULE__), do: Events.subscribe(manager)

  @doc """
  Checks a compute message (`AMDGPUFramework.Messaging.ComputeMessage`), completes it and sends it as JSON.

      {:ok, message_id} =
        PulsarManager.send_compute_message("compute_producer_1", %{
          operation_type: "matrix_multiply",
          gpu_device_id: "amd_rdna3_0",
          input_data: Base.encode64("matrix_data_here"),
          user_id: "user_123",
          parameters: %{matrix_size: 1024, precision: "float32"}
        })

  Errors: `{:validation_failed, {:missing_field, field}}`, `:send_timeout` after 10 s, and those of `send_message/3`.
  """
  @spec send_compute_message(id, map) :: {:ok, message_id} | {:error, Error.reason()}
  def send_compute_message(producer, message),
    do: Producer.send_encoded(producer, ComputeMessage.encode(message), "compute_operation")

  @doc """
  The same for an `AMDGPUFramework.Messaging.DataLineageMessage`.

      {:ok, _} = PulsarManager.send_data_lineage_message(producer, %{transformation_id: "t1", source_datasets: ["a"], destination_datasets: ["b"]})

  """
  @spec send_data_lineage_message(id, map) :: {:ok, message_id} | {:error, Error.reason()}
  def send_data_lineage_message(producer, message),
    do: Producer.send_encoded(producer, DataLineageMessage.encode(message), "data_lineage")

  @doc """
  The same for an `AMDGPUFramework.Messaging.PerformanceMetricsMessage`.

      {:ok, _} = PulsarManager.send_performance_metrics_message(producer, %{benchmark_name: "gemm", execution_time_ms: 12, memory_usage_mb: 96})

  """
  @spec send_performance_metrics_message(id, map) :: {:ok, message_id} | {:error, Error.reason()}
  def send_performance_metrics_message(producer, message),
    do:
      Producer.send_encoded(
        producer,
        PerformanceMetricsMessage.encode(message),
        "performance_metrics"
      )

  @doc """
  Lets a device process what a consumer receives. The owner gets no more messages, and results instead.

      :ok =
        PulsarManager.start_gpu_processing(consumer, %{
          processing_type: "compute_operation",
          batch_size: 100,
          output_strategy: %{type: "forward_to_topic", topic: "processed-results"}
        })

  An input is acknowledged when its result is stored in the output topic. Results also come, at most once, to the owner
  (`{:gpu_processed_messages, consumer_id, [%ProcessedMessage{}]}`) and on the PubSub topic `"gpu_processed_messages:<consumer_id>"`.

  ## Configuration

  #{Options.docs(GpuPipelineConfig.schema())}

  Errors: `:consumer_not_found`, `:gpu_processing_not_enabled`, `:gpu_processing_start_timeout` after 30 s, `{:already_exists, id}`,
  `{:unsupported_processing_type, type}`, `{:unsupported_output, type}`, `{:invalid_option, …}`.
  """
  @spec start_gpu_processing(id, map | keyword) :: result
  def start_gpu_processing(consumer, config), do: GpuProcessing.start(consumer, config)

  @doc """
  Ends GPU processing, after what is in the pipeline; messages go to the owner again.

      :ok = PulsarManager.stop_gpu_processing(consumer)

  Errors: `:consumer_not_found`, `:gpu_processing_not_started`, `:timeout`.
  """
  @spec stop_gpu_processing(id) :: result
  def stop_gpu_processing(consumer), do: GpuProcessing.stop(consumer)

  defp module(%Handle{kind: :producer}), do: Producer
  defp module(%Handle{kind: :consumer}), do: Consumer
end
