#!/usr/bin/env bash
# Fetches a Kafka broker (jars, with Maven) for the tests of the kafka sink. Without Maven and Java they are skipped.
set -euo pipefail

version=3.9.1
target="${MILLRACE_KAFKA_JARS:-/var/tmp/millrace-kafka}"

if compgen -G "$target/kafka_*.jar" > /dev/null; then exit 0; fi
if ! command -v mvn > /dev/null || ! command -v java > /dev/null; then
  echo "no Maven or no Java: tests with a Kafka are skipped" >&2
  exit 0
fi

project="$(mktemp -d)"
trap 'rm -rf "$project"' EXIT
cat > "$project/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>millrace</groupId>
  <artifactId>kafka-for-tests</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>$version</version>
    </dependency>
  </dependencies>
</project>
POM
mvn --quiet --batch-mode --file "$project/pom.xml" dependency:copy-dependencies -DoutputDirectory="$target"
