defmodule AMDGPUFramework.Messaging.GpuProcessing do
  @moduledoc false
  # Starts and stops GPU processing of a consumer: from the configuration the user wrote to what the native side takes.

  alias AMDGPUFramework.Messaging.{
    ClusterConfig,
    GpuPipelineConfig,
    Handles,
    ManagerServer,
    MessageHandler,
    JSON
  }

  @start_timeout 30_000
  @stop_timeout 30_000

  @spec start(String.t() | AMDGPUFramework.Messaging.Handle.t(), map | keyword) ::
          :ok | {:error, term}
  def start(consumer, config) do
    with {:ok, handle} <- Handles.fetch(consumer, :consumer),
         {:ok, config} <- GpuPipelineConfig.new(config),
         {:ok, %{owner: owner}} <- Handles.info(handle),
         {:ok, client, cluster} <- ManagerServer.context(handle.manager),
         :ok <- enabled(cluster),
         {:ok, native} <- native_config(config, cluster) do
      options = %{
        consumer: handle,
        client: client,
        config: native,
        owner: owner,
        pubsub: cluster.pubsub
      }

      MessageHandler.start(options, @start_timeout)
    end
  end

  @spec stop(String.t() | AMDGPUFramework.Messaging.Handle.t()) :: :ok | {:error, term}
  def stop(consumer) do
    with {:ok, handle} <- Handles.fetch(consumer, :consumer),
         do: MessageHandler.stop(handle, @stop_timeout)
  end

  defp enabled(%{gpu_processing: %{enabled: true}}), do: :ok
  defp enabled(_cluster), do: {:error, :gpu_processing_not_enabled}

  defp native_config(config, cluster) do
    with {:ok, output, producer} <- output(config.output_strategy, cluster),
         {:ok, parameters} <- JSON.encode(config.parameters) do
      {:ok,
       %{
         processing_type: config.processing_type,
         batch_size: config.batch_size || cluster.gpu_processing.batch_size,
         batch_timeout_ms: config.batch_timeout_ms,
         priority: config.priority,
         output_format: config.output_format,
         parameters: parameters,
         output: output,
         output_producer: producer,
         gpu: gpu(cluster.gpu_processing)
       }}
    end
  end

  defp gpu(settings),
    do: Map.update!(settings, :processing_threads, &(&1 || System.schedulers_online()))

  defp output(nil, _cluster), do: {:ok, :none, nil}

  defp output(%{topic: nil, producer: producer}, _cluster) do
    with {:ok, handle, topic} <- producer(producer),
         do: {:ok, {:forward_to_topic, topic}, handle.native}
  end

  defp output(%{topic: topic, producer: nil}, cluster) do
    with {:ok, topic} <- ClusterConfig.topic(cluster, topic),
         do: {:ok, {:forward_to_topic, topic}, nil}
  end

  # The topic decides: a producer of another topic is left alone, and the pipeline opens its own.
  defp output(%{topic: topic, producer: producer}, cluster) do
    with {:ok, topic} <- ClusterConfig.topic(cluster, topic),
         {:ok, handle, producer_topic} <- producer(producer) do
      {:ok, {:forward_to_topic, topic}, if(producer_topic == topic, do: handle.native)}
    end
  end

  defp producer(producer) do
    with {:ok, handle} <- Handles.fetch(producer, :producer),
         {:ok, %{topic: topic}} <- Handles.info(handle),
         do: {:ok, handle, topic}
  end
end
