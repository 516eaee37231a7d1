# Runs in a pod: while the API server is away, publishes and reads each publication at every peer. Nothing of this passes the API server.
# CENTRAL, PEERS (URLs) and TOKEN are given.
api="https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/livez"
is_away() { ! curl -sk -m 2 -o /dev/null "$api"; }
until is_away; do sleep 0.5; done
echo "away"
n=0
while is_away; do
  n=$((n + 1)) id=during-outage-$n
  document="{\"@context\":\"https://sorcha.dev/blueprints/v1\",\"id\":\"$id\",\"name\":\"$id\",\"version\":\"1.0.0\",\"participants\":[{\"id\":\"buyer\"},{\"id\":\"seller\"}]}"
  answer=$(curl -sS --fail-with-body -m 5 -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \
    -d "{\"blueprintId\":\"$id\",\"blueprint\":$document}" "$CENTRAL/api/system-register/publish") || { echo "failed: publish $id: $answer"; exit 1; }
  for peer in $PEERS; do
    tries=0
    until curl -s -f -m 2 -o /dev/null "$peer/api/system-register/blueprints/$id"; do
      tries=$((tries + 1))
      [ "$tries" -lt 25 ] || { echo "failed: $peer has not $id"; exit 1; }
      sleep 0.2
    done
  done
  echo "replicated $id $answer"
done
echo "back"
