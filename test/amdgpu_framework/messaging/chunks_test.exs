defmodule AMDGPUFramework.Messaging.ChunksTest do
  use ExUnit.Case, async: true

  alias AMDGPUFramework.Messaging.Chunks

  @mib 1_048_576
  @kib 1024

  test "nothing is lost, doubled or moved, and no part is too large" do
    :rand.seed(:exsss, {1, 2, 3})
    large = :binary.copy(<<0>>, 6 * @mib)

    for _ <- 1..50 do
      entries =
        for _ <- 1..:rand.uniform(3000) do
          case :rand.uniform(200) do
            1 -> nil
            2 -> {binary_part(large, 0, :rand.uniform(6 * @mib)), %{key: "k"}}
            n -> <<n>>
          end
        end

      chunks = Chunks.split(entries)
      assert Enum.flat_map(chunks, &elem(&1, 0)) === entries

      for {chunk, count} <- chunks do
        assert length(chunk) == count
        assert count in 1..500
        assert count == 1 or bytes(chunk) <= 256 * @kib
      end
    end
  end

  test "parts are filled" do
    assert [500, 500, 1] = List.duplicate("x", 1001) |> Chunks.split() |> Enum.map(&elem(&1, 1))
    medium = :binary.copy(<<0>>, 60 * @kib)
    assert [4, 2] = List.duplicate(medium, 6) |> Chunks.split() |> Enum.map(&elem(&1, 1))
  end

  test "a large payload goes alone, which saves copying it" do
    large = :binary.copy(<<0>>, 64 * @kib)
    parts = Chunks.split(["a", "b", large, {large, %{key: "k"}}, "c"])
    assert [2, 1, 1, 1] = Enum.map(parts, &elem(&1, 1))
  end

  test "options weigh: they are decoded one by one" do
    properties = Map.new(1..98, &{"name #{&1}", "value"})
    parts = List.duplicate({"x", %{key: "k", properties: properties}}, 12) |> Chunks.split()
    assert [5, 5, 2] = Enum.map(parts, &elem(&1, 1))
    long = %{properties: %{"name" => :binary.copy("x", 100 * @kib)}}
    assert [1, 1, 1] = List.duplicate({"x", long}, 3) |> Chunks.split() |> Enum.map(&elem(&1, 1))
  end

  test "the first reason is that of the list, and every message has its result" do
    results = [
      {:ok, [:a, :b]},
      {:error, {:duplicate, [{:ok, :c}, {:error, :duplicate}]}},
      {:ok, [:d]},
      Chunks.refused(:queue_full, 2)
    ]

    assert {:error, {:duplicate, partial}} = Chunks.merge(results)

    assert partial == [
             {:ok, :a},
             {:ok, :b},
             {:ok, :c},
             {:error, :duplicate},
             {:ok, :d},
             {:error, :queue_full},
             {:error, :queue_full}
           ]
  end

  test "no parts are an empty list of ids" do
    assert Chunks.merge([]) == {:ok, []}
  end

  defp bytes(chunk) do
    Enum.sum(
      Enum.map(chunk, fn
        nil -> 0
        {payload, _} -> byte_size(payload)
        payload -> byte_size(payload)
      end)
    )
  end
end
