defmodule AMDGPUFramework.Messaging.Telemetry do
  @moduledoc """
  The telemetry events of this library, emitted where the `:telemetry` application is loaded.

  One event a batch or a change of state, never one a message. Metadata has what the event of
  `AMDGPUFramework.Messaging.PulsarManager.subscribe/1` has besides the measurements, `manager` among it.

  | Event | Measurements | Metadata |
  |---|---|---|
  | `[:amdgpu_framework, :producer, :created]` | `count` (1) | `producer_id`, `topic` |
  | `[:amdgpu_framework, :producer, :disconnected]` | `count` (1) | `producer_id`, `topic`, `reason` |
  | `[:amdgpu_framework, :producer, :reconnected]` | `count` (1) | `producer_id`, `topic` |
  | `[:amdgpu_framework, :producer, :closed]` | `count` (1) | `producer_id` |
  | `[:amdgpu_framework, :producer, :published]` | `count`, `bytes`, `failed`; at most one a second | `producer_id` |
  | `[:amdgpu_framework, :consumer, :created]` | `count` (1) | `consumer_id`, `topics`, `subscription` |
  | `[:amdgpu_framework, :consumer, :disconnected]` | `count` (1) | `consumer_id`, `topic`, `reason` |
  | `[:amdgpu_framework, :consumer, :reconnected]` | `count` (1) | `consumer_id`, `topic` |
  | `[:amdgpu_framework, :consumer, :stalled]` | `unacked` | `consumer_id`, `topic` |
  | `[:amdgpu_framework, :consumer, :closed]` | `count` (1) | `consumer_id` |
  | `[:amdgpu_framework, :consumer, :undecodable]` | `count` (1) | `consumer_id`, `topic`, `message_id`, `reason` |
  | `[:amdgpu_framework, :pipeline, :started]` | `count` (1) | `consumer_id`, `device` |
  | `[:amdgpu_framework, :pipeline, :completed]` | `count`, `failed`, `processing_time_us` | `consumer_id`, `device` |
  | `[:amdgpu_framework, :pipeline, :stopped]` | `count` (1) | `consumer_id` |
  """

  @catalogue %{
    "producer_created" => {[:producer, :created], []},
    "producer_disconnected" => {[:producer, :disconnected], []},
    "producer_reconnected" => {[:producer, :reconnected], []},
    "producer_closed" => {[:producer, :closed], []},
    "message_published" => {[:producer, :published], [:count, :bytes, :failed]},
    "consumer_created" => {[:consumer, :created], []},
    "consumer_disconnected" => {[:consumer, :disconnected], []},
    "consumer_reconnected" => {[:consumer, :reconnected], []},
    "consumer_stalled" => {[:consumer, :stalled], [:unacked]},
    "consumer_closed" => {[:consumer, :closed], []},
    "message_undecodable" => {[:consumer, :undecodable], []},
    "gpu_processing_started" => {[:pipeline, :started], []},
    "gpu_processing_completed" =>
      {[:pipeline, :completed], [:count, :failed, :processing_time_us]},
    "gpu_processing_stopped" => {[:pipeline, :stopped], []}
  }

  @doc """
  The telemetry event for an event of this library: its name, measurements and metadata.

      iex> AMDGPUFramework.Messaging.Telemetry.event(%{event_type: "message_published", producer_id: "p", count: 3, bytes: 90, failed: 0})
      {[:amdgpu_framework, :producer, :published], %{count: 3, bytes: 90, failed: 0}, %{producer_id: "p"}}
      iex> AMDGPUFramework.Messaging.Telemetry.event(%{event_type: "unheard of"})
      nil
  """
  @spec event(map) :: {[atom], map, map} | nil
  def event(%{event_type: type} = event) do
    case @catalogue do
      %{^type => {name, measured}} ->
        {measurements, metadata} = event |> Map.delete(:event_type) |> Map.split(measured)
        measurements = if measured == [], do: %{count: 1}, else: measurements
        {[:amdgpu_framework | name], measurements, metadata}

      _ ->
        nil
    end
  end

  @doc false
  @spec emit(map) :: :ok
  def emit(event) do
    with true <- Code.ensure_loaded?(:telemetry),
         {name, measurements, metadata} <- event(event) do
      apply(:telemetry, :execute, [name, measurements, metadata])
    end

    :ok
  end
end
