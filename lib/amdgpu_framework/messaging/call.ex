defmodule AMDGPUFramework.Messaging.Call do
  @moduledoc false
  # Calls of native functions that answer later with `{ref, result}`.
  #
  # A call that may give up waits in a process of its own: an answer that comes after that goes where the
  # process was, never into the caller's mailbox.

  @type start :: (reference -> :ok | :wait | {:error, term})
  @type ticket :: reference | {:done, term}

  @doc """
  Starts a native call and waits for its result.

  `start` gets the reference that the answers will carry. When `timeout` has passed, `give_up` is called with it, may
  withdraw the call, and says what is returned.
  """
  @spec run(start, timeout, (reference -> result)) :: result when result: term
  def run(start, timeout \\ :infinity, give_up \\ &timed_out/1)

  def run(start, :infinity, _give_up) do
    with {:ok, ticket} <- submit(start), do: await(ticket)
  end

  def run(start, timeout, give_up) do
    isolate(fn ->
      deadline = System.monotonic_time(:millisecond) + timeout
      ref = make_ref()

      case start.(ref) do
        accepted when accepted in [:ok, :wait] -> await_until(ref, deadline, give_up)
        {:error, _} = error -> error
      end
    end)
  end

  @doc """
  Starts a native call and returns as soon as it is admitted, after waiting where the native side said `:wait`.

  The result is taken with `await/1`, in the same process.
  """
  @spec submit(start) :: {:ok, ticket} | {:error, term}
  def submit(start) do
    ref = make_ref()

    case start.(ref) do
      :ok ->
        {:ok, ref}

      :wait ->
        receive do
          {^ref, :admitted} -> {:ok, ref}
          # What was waiting has ended without being admitted.
          {^ref, result} -> {:ok, {:done, result}}
        end

      {:error, _} = error ->
        error
    end
  end

  @doc "Waits for the result of what `submit/1` started."
  @spec await(ticket) :: term
  def await({:done, result}), do: result

  def await(ref) do
    receive do
      {^ref, result} -> result
    end
  end

  defp await_until(ref, deadline, give_up) do
    receive do
      {^ref, :admitted} -> await_until(ref, deadline, give_up)
      {^ref, result} -> result
    after
      max(deadline - System.monotonic_time(:millisecond), 0) -> give_up.(ref)
    end
  end

  defp isolate(fun) do
    {pid, monitor} =
      spawn_monitor(fn ->
        exit({:shutdown, {__MODULE__, outcome(fun)}})
      end)

    receive do
      {:DOWN, ^monitor, :process, ^pid, {:shutdown, {__MODULE__, {:ok, result}}}} ->
        result

      {:DOWN, ^monitor, :process, ^pid, {:shutdown, {__MODULE__, {kind, reason, stacktrace}}}} ->
        :erlang.raise(kind, reason, stacktrace)

      {:DOWN, ^monitor, :process, ^pid, reason} ->
        exit(reason)
    end
  end

  defp outcome(fun) do
    {:ok, fun.()}
  catch
    kind, reason -> {kind, reason, __STACKTRACE__}
  end

  defp timed_out(_ref), do: {:error, :timeout}
end
