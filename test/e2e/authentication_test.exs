defmodule AMDGPUFramework.E2E.AuthenticationTest do
  use AMDGPUFramework.E2ECase, async: false

  @moduletag timeout: 300_000

  @provider "org.apache.pulsar.broker.authentication.AuthenticationProviderToken"
  @client "org.apache.pulsar.client.impl.auth.AuthenticationToken"

  setup_all do
    secret = :crypto.strong_rand_bytes(32)
    admin = token(secret, "admin")

    settings = [
      authenticationEnabled: true,
      authorizationEnabled: true,
      authenticationProviders: @provider,
      superUserRoles: "admin",
      tokenSecretKey: "data:;base64,#{Base.encode64(secret)}",
      brokerClientAuthenticationPlugin: @client,
      brokerClientAuthenticationParameters: "token:#{admin}"
    ]

    broker = TestBroker.start!(set: settings, admin_token: admin)
    [info: Standalone.info(broker), broker: broker, secret: secret, admin: admin]
  end

  test "who has a token gets in, who has none or another's does not", context do
    %{info: info, admin: admin, secret: secret} = context
    topic = TestBroker.topic("auth")

    for authentication <- [{:token, admin}, %{method: "token", token: admin}] do
      manager = start_manager(info, authentication: authentication)
      assert {:ok, %{connected: true}} = PulsarManager.health(manager)
      producer = producer!(manager, topic)
      assert {:ok, _} = PulsarManager.send_message(producer, "authentic")
    end

    manager = start_manager(info, authentication: {:token, admin})
    consumer = consumer!(manager, topic)
    assert ["authentic", "authentic"] = payloads(receive_messages(consumer, 2))

    # A connection that is lost is authenticated again.
    :ok = Standalone.kill(context.broker)
    :ok = Standalone.restart(context.broker)

    assert_receive {:pulsar_event, %{event_type: "consumer_reconnected", consumer_id: ^consumer}},
                   60_000

    for authentication <- [
          nil,
          {:token, token(:crypto.strong_rand_bytes(32), "admin")},
          {:token, "not a token"}
        ] do
      stranger = start_manager(info, authentication: authentication, operation_timeout: 5_000)
      assert {:error, reason} = PulsarManager.create_producer(topic, manager: stranger)
      assert {:broker, :authentication_error, text} = reason
      refute text =~ admin
    end

    nobody = start_manager(info, authentication: {:token, token(secret, "nobody")})

    assert {:error, {:broker, :authorization_error, _}} =
             PulsarManager.create_producer(topic, manager: nobody)
  end

  test "the token is shown nowhere", %{info: info, admin: admin} do
    manager = start_manager(info, authentication: {:token, admin})
    refute inspect(:sys.get_state(manager), limit: :infinity, printable_limit: :infinity) =~ admin
    refute inspect(PulsarManager.stats(manager)) =~ admin
    refute inspect(PulsarManager.health(manager)) =~ admin
  end

  defp token(secret, subject) do
    encode = &Base.url_encode64(&1, padding: false)
    signed = encode.(~s({"alg":"HS256"})) <> "." <> encode.(~s({"sub":"#{subject}"}))
    signed <> "." <> encode.(:crypto.mac(:hmac, :sha256, secret, signed))
  end
end
