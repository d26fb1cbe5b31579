defmodule AMDGPUFramework.Messaging.DataLineageMessage do
  @moduledoc """
  Which datasets a transformation read and wrote, as `AMDGPUFramework.Messaging.PulsarManager.send_data_lineage_message/2` sends it.

  Required: `transformation_id`, `source_datasets`, `destination_datasets`. Optional: `transformation_type`, `data_hash`, `user_id`,
  `pipeline_id`. Sending adds `message_id`, `timestamp`, `source` and `version`.
  """

  alias AMDGPUFramework.Messaging.FrameworkMessage

  @required [:transformation_id, :source_datasets, :destination_datasets]

  @doc """
  Checks and completes a message, with atom or string keys; the result has string keys.

      iex> alias AMDGPUFramework.Messaging.DataLineageMessage
      iex> DataLineageMessage.prepare(%{transformation_id: "t1", source_datasets: ["raw"]})
      {:error, {:validation_failed, {:missing_field, :destination_datasets}}}
  """
  @spec prepare(map) :: {:ok, map} | {:error, {:validation_failed, term}}
  def prepare(message), do: FrameworkMessage.prepare(message, @required)

  @doc """
  The completed message as JSON.

      {:ok, payload} = DataLineageMessage.encode(message)

  """
  @spec encode(map) :: {:ok, binary} | {:error, term}
  def encode(message), do: FrameworkMessage.encode(message, @required)
end
