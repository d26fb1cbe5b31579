defmodule AMDGPUFramework.Messaging.GpuPipelineConfig do
  @moduledoc """
  The configuration of `AMDGPUFramework.Messaging.PulsarManager.start_gpu_processing/2`.

  It is a map or a keyword list; keys and names may be strings or atoms.

      %{
        processing_type: "compute_operation",
        batch_size: 100,
        output_strategy: %{type: "forward_to_topic", topic: "processed-results"}
      }
  """

  alias AMDGPUFramework.Messaging.{Handle, Options}

  @supported ["compute_operation"]
  @later ~w(json_transformation data_aggregation ml_inference image_processing cryptographic_hashing)
  @later_outputs ~w(write_to_database send_to_blockchain trigger_neuromorphic custom)

  @enforce_keys [:processing_type]
  defstruct [
    :processing_type,
    :batch_size,
    :batch_timeout_ms,
    :priority,
    :output_format,
    :parameters,
    :output_strategy
  ]

  @type output :: %{topic: String.t() | nil, producer: String.t() | Handle.t() | nil}
  @type t :: %__MODULE__{
          processing_type: String.t(),
          batch_size: pos_integer | nil,
          batch_timeout_ms: pos_integer,
          priority: :low | :normal | :high | :critical,
          output_format: :json | :raw | nil,
          parameters: map,
          output_strategy: output | nil
        }

  @doc false
  @spec schema() :: Options.schema()
  def schema do
    [
      processing_type: [
        type: {:custom, &__MODULE__.cast_type/1, ~s(one of #{inspect(@supported)})},
        doc: "What is done with a message."
      ],
      batch_size: [
        type: {:nullable, {:integer, 1, 100_000}},
        default: nil,
        default_doc: "`batch_size` of the manager's `gpu_processing`",
        doc: "The most messages computed together. All of them are acknowledged together."
      ],
      batch_timeout_ms: [
        type: {:integer, 0, 60_000},
        default: 5,
        doc: "How long a batch that is not full waits for more: latency given for throughput."
      ],
      priority: [
        type: {:one_of, [:low, :normal, :high, :critical]},
        default: :normal,
        doc: "Which pipeline a busy device serves first."
      ],
      output_format: [
        type: {:nullable, {:one_of, [:json, :raw]}},
        default: nil,
        default_doc: "by processing type",
        doc:
          "What a result looks like: a JSON document with the input's correlation id, or the bytes alone."
      ],
      parameters: [
        type: {:custom, &__MODULE__.cast_parameters/1, "a map that JSON can write"},
        default: %{},
        doc: "For the processing type, where messages bring none of their own."
      ],
      output_strategy: [
        type: {:custom, &__MODULE__.cast_output/1, output_allowed()},
        default: nil,
        doc:
          "Where results go; an input is acknowledged when they are stored there. The topic decides: a `producer_id` whose producer has another topic is not used. Without a strategy results go to the owner and to PubSub only, at most once."
      ]
    ]
  end

  @doc """
  Checks a configuration and completes it.

      iex> alias AMDGPUFramework.Messaging.GpuPipelineConfig
      iex> {:ok, config} = GpuPipelineConfig.new(%{
      ...>   processing_type: "compute_operation",
      ...>   output_strategy: %{type: "forward_to_topic", topic: "processed-results", producer_id: "p1"}
      ...> })
      iex> {config.processing_type, config.batch_timeout_ms, config.output_strategy}
      {"compute_operation", 5, %{topic: "processed-results", producer: "p1"}}
      iex> GpuPipelineConfig.new(processing_type: :ml_inference)
      {:error, {:unsupported_processing_type, "ml_inference"}}
      iex> GpuPipelineConfig.new(processing_type: "compute_operation", output_strategy: %{type: "send_to_blockchain"})
      {:error, {:unsupported_output, "send_to_blockchain"}}
  """
  @spec new(keyword | map) :: {:ok, t} | {:error, AMDGPUFramework.Messaging.Error.reason()}
  def new(%__MODULE__{} = config), do: {:ok, config}

  def new(given) do
    with {:ok, checked} <- Options.validate(schema(), given),
         do: {:ok, struct!(__MODULE__, checked)}
  end

  @doc false
  def cast_type(type) when is_binary(type) or (is_atom(type) and type != nil) do
    case to_string(type) do
      type when type in @supported -> {:ok, type}
      type when type in @later -> {:error, {:unsupported_processing_type, type}}
      _ -> :error
    end
  end

  def cast_type(_type), do: :error

  @doc false
  def cast_parameters(nil), do: {:ok, %{}}
  def cast_parameters(map) when is_map(map) and not is_struct(map), do: {:ok, map}

  def cast_parameters(list) when is_list(list) do
    if Keyword.keyword?(list), do: {:ok, Map.new(list)}, else: :error
  end

  def cast_parameters(_parameters), do: :error

  @doc false
  def cast_output(nil), do: {:ok, nil}

  def cast_output(strategy) when is_map(strategy) and not is_struct(strategy),
    do: cast_output(Map.to_list(strategy), strategy)

  def cast_output(strategy) do
    if Keyword.keyword?(strategy), do: cast_output(strategy, strategy), else: :error
  end

  # The other keys depend on the type, so the type is read before they are looked at.
  defp cast_output(pairs, strategy) do
    case Enum.find_value(pairs, fn {key, type} -> key in [:type, "type"] && type end) do
      type when type in ["forward_to_topic", :forward_to_topic] -> forward(strategy)
      type when is_binary(type) or is_atom(type) -> unsupported(to_string(type))
      _ -> :error
    end
  end

  defp unsupported(type) when type in @later_outputs, do: {:error, {:unsupported_output, type}}
  defp unsupported(_type), do: :error

  defp forward(strategy) do
    schema = [
      type: [type: {:one_of, [:forward_to_topic]}, doc: "The kind of output."],
      topic: [type: {:nullable, :string}, default: nil, doc: "The topic."],
      producer_id: [
        type: {:nullable, {:custom, &cast_producer/1, "the id of a producer or its handle"}},
        default: nil,
        doc: "A producer to use."
      ]
    ]

    case Options.validate(schema, strategy) do
      {:ok, %{topic: nil, producer_id: nil}} ->
        {:error, {:invalid_option, :topic, nil, Options.allowed(:string)}}

      {:ok, %{topic: topic, producer_id: producer}} ->
        {:ok, %{topic: topic, producer: producer}}

      {:error, _} = error ->
        error
    end
  end

  defp cast_producer(%Handle{kind: :producer} = handle), do: {:ok, handle}
  defp cast_producer(id) when is_binary(id), do: {:ok, id}
  defp cast_producer(_producer), do: :error

  defp output_allowed,
    do: ~s(nil or %{type: "forward_to_topic", topic: "…", producer_id: "…" (optional\)})
end
