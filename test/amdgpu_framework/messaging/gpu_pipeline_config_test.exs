defmodule AMDGPUFramework.Messaging.GpuPipelineConfigTest do
  use ExUnit.Case, async: true

  alias AMDGPUFramework.Messaging.GpuPipelineConfig

  @forward %{type: "forward_to_topic", topic: "processed-results", producer_id: "p1"}

  test "strings and atoms, maps and keywords mean the same" do
    expected =
      GpuPipelineConfig.new(%{
        processing_type: "compute_operation",
        batch_size: 100,
        output_strategy: @forward
      })

    assert {:ok,
            %{batch_size: 100, output_strategy: %{topic: "processed-results", producer: "p1"}}} =
             expected

    for config <- [
          [
            processing_type: :compute_operation,
            batch_size: 100,
            output_strategy: Map.to_list(@forward)
          ],
          %{
            "processing_type" => "compute_operation",
            "batch_size" => 100,
            "output_strategy" => %{
              "type" => :forward_to_topic,
              "topic" => "processed-results",
              "producer_id" => "p1"
            }
          }
        ] do
      assert GpuPipelineConfig.new(config) == expected
    end
  end

  test "defaults" do
    assert {:ok, config} = GpuPipelineConfig.new(processing_type: "compute_operation")

    assert %{
             batch_size: nil,
             batch_timeout_ms: 5,
             priority: :normal,
             output_format: nil,
             parameters: parameters,
             output_strategy: nil
           } = config

    assert parameters == %{}
  end

  test "processing types of later versions are told from unknown ones" do
    for type <- ["ml_inference", :json_transformation] do
      name = to_string(type)

      assert {:error, {:unsupported_processing_type, ^name}} =
               GpuPipelineConfig.new(processing_type: type)
    end

    for bad <- ["mining", nil, 1] do
      assert {:error, {:invalid_option, :processing_type, ^bad, _}} =
               GpuPipelineConfig.new(processing_type: bad)
    end

    assert {:error, {:invalid_option, :processing_type, nil, _}} = GpuPipelineConfig.new([])
  end

  test "outputs of later versions are told from unknown ones" do
    for type <- ["write_to_database", :send_to_blockchain, "trigger_neuromorphic"] do
      name = to_string(type)
      assert {:error, {:unsupported_output, ^name}} = new(%{type: type, connection: "x"})
    end

    for bad <- [%{type: "fax"}, %{}, %{type: 1}, "forward_to_topic", [1], DateTime.utc_now()] do
      assert {:error, {:invalid_option, :output_strategy, ^bad, _}} = new(bad)
    end
  end

  test "forwarding needs a topic or a producer, and nothing it does not know" do
    assert {:error, {:invalid_option, [:output_strategy, :topic], nil, _}} =
             new(%{type: "forward_to_topic"})

    assert {:ok, %{output_strategy: %{topic: nil, producer: "p"}}} =
             new(%{type: "forward_to_topic", producer_id: "p"})

    assert {:ok, %{output_strategy: %{topic: "t", producer: nil}}} =
             new(%{type: "forward_to_topic", topic: "t"})

    assert {:error, {:invalid_option, [:output_strategy, :topik], "t", _}} =
             new(%{type: "forward_to_topic", topik: "t"})
  end

  test "parameters are a map" do
    assert {:ok, %{parameters: %{algorithm: "sha256"}}} =
             GpuPipelineConfig.new(
               processing_type: :compute_operation,
               parameters: [algorithm: "sha256"]
             )

    assert {:error, {:invalid_option, :parameters, "x", _}} =
             GpuPipelineConfig.new(processing_type: :compute_operation, parameters: "x")
  end

  defp new(strategy),
    do: GpuPipelineConfig.new(processing_type: "compute_operation", output_strategy: strategy)
end
