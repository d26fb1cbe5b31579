defmodule AMDGPUFramework.Eventually do
  @moduledoc "Waits for what no message announces, such as the end of an operating system process."

  @poll_interval 25

  @doc "Calls `fun` until it returns something true, which is returned; nil after `timeout` ms."
  def eventually(fun, timeout \\ 10_000) do
    poll(fun, System.monotonic_time(:millisecond) + timeout)
  end

  defp poll(fun, deadline) do
    cond do
      result = fun.() ->
        result

      System.monotonic_time(:millisecond) > deadline ->
        nil

      true ->
        receive do
        after
          @poll_interval -> poll(fun, deadline)
        end
    end
  end
end
