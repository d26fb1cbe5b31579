defmodule AMDGPUFramework.Messaging.FrameworkMessageTest do
  use ExUnit.Case, async: true

  alias AMDGPUFramework.Messaging.{
    ComputeMessage,
    DataLineageMessage,
    Native,
    PerformanceMetricsMessage
  }

  @compute %{
    operation_type: "matrix_multiply",
    gpu_device_id: "amd_rdna3_0",
    input_data: Base.encode64("matrix_data_here"),
    user_id: "user_123",
    parameters: %{matrix_size: 1024, precision: "float32"}
  }

  test "every required field is required, under either kind of key" do
    for {module, fields} <- [
          {ComputeMessage, [:operation_type, :gpu_device_id, :input_data, :user_id]},
          {DataLineageMessage, [:transformation_id, :source_datasets, :destination_datasets]},
          {PerformanceMetricsMessage, [:benchmark_name, :execution_time_ms, :memory_usage_mb]}
        ] do
      atoms = Map.new(fields, &{&1, "x"})
      strings = Map.new(fields, &{Atom.to_string(&1), "x"})
      assert {:ok, _} = module.prepare(atoms)
      assert {:ok, _} = module.prepare(strings)

      for field <- fields,
          message <- [
            Map.delete(atoms, field),
            Map.put(atoms, field, nil),
            Map.delete(strings, Atom.to_string(field))
          ] do
        assert module.prepare(message) == {:error, {:validation_failed, {:missing_field, field}}}
      end
    end
  end

  test "false and 0 are values" do
    assert {:ok, _} =
             PerformanceMetricsMessage.prepare(%{
               benchmark_name: "b",
               execution_time_ms: 0,
               memory_usage_mb: false
             })
  end

  test "enrichment is of this sending" do
    before = System.os_time(:second)
    assert {:ok, first} = ComputeMessage.prepare(Map.put(@compute, :message_id, "mine"))
    assert {:ok, second} = ComputeMessage.prepare(@compute)

    assert first["message_id"] != "mine" and first["message_id"] != second["message_id"]
    assert first["timestamp"] in before..System.os_time(:second)
    assert %{"source" => "amdgpu_framework", "version" => "1.0", "user_id" => "user_123"} = first
    refute Map.has_key?(first, :message_id)
  end

  test "what is no map" do
    for bad <- [nil, "text", [operation_type: "x"]],
        do: assert({:error, {:validation_failed, :not_a_map}} = ComputeMessage.prepare(bad))
  end

  @tag :nif
  test "the JSON has what was given" do
    assert {:ok, json} = ComputeMessage.encode(@compute)
    assert {:ok, decoded} = Native.json_decode(json)

    assert %{
             "parameters" => %{"matrix_size" => 1024, "precision" => "float32"},
             "operation_type" => "matrix_multiply"
           } = decoded
  end

  @tag :nif
  test "what JSON cannot write is an error" do
    assert {:error, {:invalid_option, _, _, _}} =
             ComputeMessage.encode(Map.put(@compute, :parameters, %{pid: self()}))
  end
end
