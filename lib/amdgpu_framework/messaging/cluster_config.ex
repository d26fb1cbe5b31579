defmodule AMDGPUFramework.Messaging.ClusterConfig do
  @moduledoc """
  The configuration of a cluster: what `AMDGPUFramework.Messaging.PulsarManager.start_link/1` takes.

  It is a keyword list or a map, with atom or string keys. What is given there comes before what the environment of the
  application says, which holds for every manager:

      config :amdgpu_framework, :pulsar, broker_service_url: "pulsar://broker.example:6650"

  ## Options

  #{AMDGPUFramework.Messaging.Options.docs(AMDGPUFramework.Messaging.Options.Cluster.schema())}
  """

  alias AMDGPUFramework.Messaging.{Options, TopicName}

  @application :amdgpu_framework

  @keys Keyword.keys(Options.Cluster.schema())

  @derive {Inspect, except: [:authentication]}
  defstruct @keys

  @type t :: %__MODULE__{}

  @doc """
  Checks a configuration and completes it.

      iex> alias AMDGPUFramework.Messaging.ClusterConfig
      iex> {:ok, config} = ClusterConfig.new(%{"broker_service_url" => "pulsar://broker:6650"})
      iex> {config.broker_service_url, config.tenant}
      {"pulsar://broker:6650", "public"}
      iex> ClusterConfig.new(broker_service_url: "http://broker")
      {:error, {:invalid_option, :broker_service_url, "http://broker", "pulsar://host:port or pulsar+ssl://host:port"}}
  """
  @spec new(keyword | map | t) :: {:ok, t} | {:error, AMDGPUFramework.Messaging.Error.reason()}
  def new(%__MODULE__{} = config), do: {:ok, config}

  def new(given) do
    schema = Options.Cluster.schema()
    environment = Application.get_env(@application, :pulsar, [])

    with {:ok, environment} <- Options.validate_given(schema, environment),
         {:ok, given} <- Options.validate_given(schema, given) do
      defaults = Map.new(schema, fn {key, spec} -> {key, spec[:default]} end)
      {:ok, struct!(__MODULE__, defaults |> Map.merge(environment) |> Map.merge(given))}
    end
  end

  @doc "What the native client needs of it."
  @spec client_options(t) :: map
  def client_options(%__MODULE__{} = config) do
    %{
      service_url: config.broker_service_url,
      auth: config.authentication,
      connection_timeout_ms: config.connection_timeout,
      operation_timeout_ms: config.operation_timeout,
      keep_alive_ms: config.keep_alive,
      listener_name: config.listener_name,
      tenant: config.tenant,
      namespace: config.namespace,
      tls: config.tls
    }
  end

  @doc """
  The full name of a topic in this configuration's tenant and namespace.

      iex> alias AMDGPUFramework.Messaging.ClusterConfig
      iex> {:ok, config} = ClusterConfig.new(tenant: "physics", namespace: "runs")
      iex> ClusterConfig.topic(config, "results")
      {:ok, "persistent://physics/runs/results"}
  """
  @spec topic(t, term) ::
          {:ok, String.t()} | {:error, {:invalid_option, :topic, term, String.t()}}
  def topic(%__MODULE__{} = config, topic) do
    case TopicName.full(topic, config.tenant, config.namespace) do
      {:ok, full} -> {:ok, full}
      :error -> {:error, {:invalid_option, :topic, topic, TopicName.allowed()}}
    end
  end
end
