defmodule AMDGPUFramework.E2E.DemoTest do
  use AMDGPUFramework.E2ECase, async: false

  import ExUnit.CaptureIO

  alias AMDGPUFramework.Demo.{Round, Tally, Workload}
  alias AMDGPUFramework.Messaging.JSON
  alias Mix.Tasks.Amdgpu.Demo

  doctest AMDGPUFramework.Demo.Workload
  doctest AMDGPUFramework.Demo.Console

  describe "a tally" do
    setup do
      tally = Tally.new(1, 10)
      for number <- 0..9, do: Tally.sent(tally, number)
      [tally: tally]
    end

    test "counts each right result once", %{tally: tally} do
      tally =
        for number <- 0..9, reduce: tally do
          tally ->
            refute Tally.complete?(tally)
            assert {tally, true} = Tally.record(tally, result(number))
            assert {tally, false} = Tally.record(tally, result(number))
            tally
        end

      assert Tally.complete?(tally)
      assert %{verified: 10, duplicates: 10, wrong_count: 0, device: "cpu:0 (test)"} = tally
      assert [p50, p99] = Tally.percentiles(tally, [0.5, 0.99])
      assert p50 > 0 and p99 >= p50
    end

    test "does not count what is wrong", %{tally: tally} do
      for number <- 0..4 do
        {type, shape, <<first, rest::binary>>} = Workload.expected(number)

        for {what, wrong} <- [
              {:value, {type, shape, <<Bitwise.bxor(first, 1), rest::binary>>}},
              {:shape, {type, [1 | shape], <<first, rest::binary>>}},
              {:type, {"float64", shape, <<first, rest::binary>>}}
            ] do
          assert {%{verified: 0, wrong_count: 1}, false} =
                   Tally.record(tally, result(number, "1-#{number}", wrong)),
                 "#{what} of #{number}"
        end
      end

      for id <- ["1-10", "1--1", "1-x", "nothing", nil, 7] do
        assert {%{verified: 0, wrong_count: 1}, false} = Tally.record(tally, result(1, id))
      end

      assert {%{verified: 0, wrong_count: 1}, false} = Tally.record(tally, "not JSON")
    end

    test "leaves results of another round alone", %{tally: tally} do
      assert {^tally, false} = Tally.record(tally, result(1, "2-1"))
    end
  end

  test "a round verifies every result, and says so when one is missing" do
    manager = start_manager(TestBroker.shared())
    input = TestBroker.topic("demo-input")
    output = TestBroker.topic("demo-output")
    consumer = consumer!(manager, input)
    ids = %{producer: producer!(manager, input), results: consumer!(manager, output)}

    :ok =
      PulsarManager.start_gpu_processing(consumer, %{
        processing_type: "compute_operation",
        output_strategy: %{type: "forward_to_topic", topic: output}
      })

    output = capture_io(fn -> send(self(), {:report, Round.run(ids, 1, 500)}) end)
    assert_received {:report, report}
    assert %{tally: %{verified: 500, wrong_count: 0}, error: nil, outage_ms: nil} = report
    assert output =~ "100%  500 verified"

    :ok = PulsarManager.close(ids.producer)
    capture_io(fn -> send(self(), {:report, Round.run(ids, 2, 10)}) end)
    assert_received {:report, %{tally: %{verified: 0}, error: "sending failed: " <> _}}
  end

  test "arguments that mean nothing are refused" do
    for arguments <- [~w(--messages 0), ~w(--messages x), ~w(--other), ~w(now)],
        do: assert_raise(Mix.Error, fn -> Demo.run(arguments) end)
  end

  defp result(number), do: result(number, "1-#{number}", Workload.expected(number))

  defp result(number, correlation_id),
    do: result(number, correlation_id, Workload.expected(number))

  defp result(_number, correlation_id, {type, shape, data}) do
    {:ok, json} =
      JSON.encode(%{
        correlation_id: correlation_id,
        status: "ok",
        device: %{id: 0, backend: "cpu", name: "test"},
        result: %{type: type, shape: shape, data: Base.encode64(data)}
      })

    json
  end
end
