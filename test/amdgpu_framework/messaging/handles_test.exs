defmodule AMDGPUFramework.Messaging.HandlesTest do
  use ExUnit.Case, async: true

  alias AMDGPUFramework.Messaging.{Handle, Handles}

  setup do
    {:ok, id: "handle_#{System.unique_integer([:positive])}"}
  end

  defp handle(id, kind, instance),
    do: %Handle{kind: kind, id: id, native: make_ref(), manager: self(), instance: instance}

  # The table is written by one process: when it answers, what was cast before is done.
  defp settle, do: :sys.get_state(Handles)

  test "an id is taken once", %{id: id} do
    assert {:ok, instance} = Handles.reserve(id, :producer)
    assert {:error, {:already_exists, ^id}} = Handles.reserve(id, :consumer)
    assert :ok = Handles.commit(handle(id, :producer, instance), %{})
    assert {:error, {:already_exists, ^id}} = Handles.reserve(id, :producer)
    assert :ok = Handles.release(id, instance)
    assert {:ok, _} = Handles.reserve(id, :producer)
  end

  test "of many that want an id, one gets it", %{id: id} do
    test = self()

    holders =
      for _ <- 1..50 do
        spawn_link(fn ->
          send(test, {:reserved, Handles.reserve(id, :producer)})
          receive do: (:end -> :ok)
        end)
      end

    results = for _ <- holders, do: receive(do: ({:reserved, result} -> result))
    assert Enum.count(results, &match?({:ok, _}, &1)) == 1
    Enum.each(holders, &send(&1, :end))
  end

  test "a reservation is not found; what is open is found under its kind", %{id: id} do
    {:ok, instance} = Handles.reserve(id, :consumer)
    assert {:error, :consumer_not_found} = Handles.fetch(id, :consumer)
    handle = handle(id, :consumer, instance)
    :ok = Handles.commit(handle, %{topics: ["t"]})
    assert {:ok, ^handle} = Handles.fetch(id, :consumer)
    assert {:ok, ^handle} = Handles.fetch(id)
    assert {:error, :producer_not_found} = Handles.fetch(id, :producer)
    assert {:ok, %{topics: ["t"]}} = Handles.info(handle)
    assert {:error, :not_found} = Handles.fetch("nothing of this name")
  end

  test "a handle stands for itself, for its own kind", %{id: id} do
    handle = handle(id, :producer, 1)
    assert {:ok, ^handle} = Handles.fetch(handle, :producer)
    assert {:error, :consumer_not_found} = Handles.fetch(handle, :consumer)
    assert {:error, :closed} = Handles.info(handle)
  end

  test "a reservation ends with the process that made it, what is open does not", %{id: id} do
    open = id <> "_open"

    {pid, monitor} =
      spawn_monitor(fn ->
        {:ok, _} = Handles.reserve(id, :producer)
        {:ok, instance} = Handles.reserve(open, :producer)
        :ok = Handles.commit(handle(open, :producer, instance), %{})
      end)

    assert_receive {:DOWN, ^monitor, :process, ^pid, :normal}
    settle()
    assert {:ok, _} = Handles.reserve(id, :producer)
    assert {:ok, _} = Handles.fetch(open, :producer)
  end

  test "a report of closing frees its own use of the id only", %{id: id} do
    {:ok, first} = Handles.reserve(id, :producer)
    :ok = Handles.commit(handle(id, :producer, first), %{})
    Handles.closed(id, first)
    settle()
    {:ok, second} = Handles.reserve(id, :producer)
    Handles.closed(id, first)
    Handles.closed(id, nil)
    settle()
    assert :ok = Handles.commit(handle(id, :producer, second), %{})
    Handles.closed(id, first)
    settle()
    assert {:ok, %Handle{instance: ^second}} = Handles.fetch(id, :producer)
    Handles.closed(id, nil)
    settle()
    assert {:error, :producer_not_found} = Handles.fetch(id, :producer)
  end

  test "what was released before it was filled stays released", %{id: id} do
    {:ok, instance} = Handles.reserve(id, :producer)
    Handles.release(id, instance)
    assert {:error, :gone} = Handles.commit(handle(id, :producer, instance), %{})
    assert {:error, :producer_not_found} = Handles.fetch(id, :producer)
  end
end
