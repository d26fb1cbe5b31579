defmodule AMDGPUFramework.Messaging.CallTest do
  use ExUnit.Case, async: true

  alias AMDGPUFramework.Messaging.Call

  # Stands for the native side: a process that answers when it is told to.
  defp answer(messages),
    do: fn ref -> Enum.each(messages, &send(self(), put_elem(&1, 0, ref))) && :ok end

  test "the result of a call" do
    assert Call.run(answer([{nil, {:ok, 1}}])) == {:ok, 1}
    assert Call.run(answer([{nil, {:ok, 1}}]), 5_000) == {:ok, 1}
  end

  test "what is refused at once is returned at once" do
    refuse = fn _ref -> {:error, :queue_full} end
    assert Call.run(refuse) == {:error, :queue_full}
    assert Call.run(refuse, 5_000) == {:error, :queue_full}
    assert Call.submit(refuse) == {:error, :queue_full}
  end

  test "admission is waited for, and is not the result" do
    wait = fn ref ->
      send(self(), {ref, :admitted})
      send(self(), {ref, {:ok, 2}})
      :wait
    end

    assert Call.run(wait) == {:ok, 2}
    assert Call.run(wait, 5_000) == {:ok, 2}
    refute_received _
  end

  test "what ends while it waits for admission has its result" do
    ended = fn ref ->
      send(self(), {ref, {:error, :closed}})
      :wait
    end

    assert {:ok, ticket} = Call.submit(ended)
    assert Call.await(ticket) == {:error, :closed}
    refute_received _
  end

  test "several calls can be under way, and their results are told apart" do
    test = self()
    start = fn ref -> send(test, {:started, ref}) && :ok end
    {:ok, first} = Call.submit(start)
    {:ok, second} = Call.submit(start)
    assert_received {:started, first_ref}
    assert_received {:started, second_ref}
    send(self(), {second_ref, :two})
    send(self(), {first_ref, :one})
    assert {Call.await(first), Call.await(second)} == {:one, :two}
  end

  test "a call that gives up says so to the native side, and a late answer reaches nobody" do
    test = self()

    start = fn ref ->
      send(test, {:started, ref, self()})
      :ok
    end

    give_up = fn ref ->
      send(test, {:cancelled, ref})
      {:error, :send_timeout}
    end

    assert Call.run(start, 1, give_up) == {:error, :send_timeout}
    assert_received {:started, ref, process}
    assert_received {:cancelled, ^ref}
    send(process, {ref, {:ok, :late}})
    refute Process.alive?(process)
    refute_received _
  end

  test "without anything else the reason is :timeout" do
    assert Call.run(fn _ref -> :ok end, 1) == {:error, :timeout}
  end

  test "other messages stay where they are" do
    send(self(), :mine)
    assert Call.run(answer([{nil, :ok}]), 5_000) == :ok
    assert_received :mine
    refute_received _
  end

  test "what is raised on the way is raised in the caller" do
    assert_raise ArgumentError, "no", fn ->
      Call.run(fn _ref -> raise ArgumentError, "no" end, 5_000)
    end

    assert_raise ArgumentError, "no", fn -> Call.run(fn _ref -> raise ArgumentError, "no" end) end
  end
end
