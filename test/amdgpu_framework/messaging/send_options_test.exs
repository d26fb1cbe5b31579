defmodule AMDGPUFramework.Messaging.SendOptionsTest do
  use ExUnit.Case, async: true

  alias AMDGPUFramework.Messaging.Options
  alias AMDGPUFramework.Messaging.Options.Send

  test "only what was given is passed on" do
    assert {:ok, opts} = Send.entry([])
    assert opts == %{}
    assert {:ok, %{key: "k", sequence_id: 0} = opts} = Send.entry(key: "k", sequence_id: 0)
    assert map_size(opts) == 2
  end

  test "keywords, maps and string keys mean the same" do
    expected = {:ok, %{key: "k", properties: %{"a" => "b"}}}
    assert Send.entry(key: "k", properties: %{"a" => "b"}) == expected
    assert Send.entry(%{key: "k", properties: %{a: "b"}}) == expected
    assert Send.entry(%{"key" => "k", "properties" => %{"a" => "b"}}) == expected
  end

  test "nil means not given" do
    assert Send.entry(key: nil, event_time: nil) == {:ok, %{}}
  end

  test "the quick check accepts nothing that the schema refuses" do
    candidates = [
      nil,
      "",
      "k",
      <<255>>,
      0,
      5,
      -1,
      1.5,
      :a,
      %{},
      %{"a" => "b"},
      %{a: "b"},
      %{"a" => 1},
      [],
      [a: "b"],
      ~U[2024-01-01 00:00:00Z]
    ]

    for {key, _spec} <- Send.schema(), value <- candidates do
      quick = Send.entry([{key, value}])

      case Options.validate_given(Send.schema(), [{key, value}]) do
        {:ok, %{^key => nil}} -> assert quick == {:ok, %{}}
        {:ok, checked} -> assert quick == {:ok, checked}, "#{key}: #{inspect(value)}"
        {:error, _} = error -> assert quick == error, "#{key}: #{inspect(value)}"
      end
    end
  end

  test "a delay and a point in time exclude each other" do
    assert {:error, {:invalid_option, :deliver_at, 5, _}} =
             Send.entry(deliver_at: 5, deliver_after: 1)
  end

  test "options of later versions are refused like any unknown one" do
    assert {:error, {:invalid_option, :replicate_to, ["b"], allowed}} =
             Send.entry(replicate_to: ["b"])

    assert allowed =~ ":sequence_id"
  end

  test "timeouts" do
    assert Send.cast_timeout(:infinity) == {:ok, :infinity}
    assert Send.cast_timeout(1) == {:ok, 1}
    for bad <- [0, -1, 1.5, nil, "5"], do: assert(Send.cast_timeout(bad) == :error)
  end
end
