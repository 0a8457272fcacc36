# Columba in a small image: one bundled file on Node, as a user without rights.
#   docker build -t columba . && docker run --rm columba doctor

FROM node:26.10.0-alpine AS build
WORKDIR /columba
# The dependencies are a layer of their own: they change less often than the sources.
COPY package.json package-lock.json .npmrc ./
# Without scripts: the one that matters fetches a Node of the project's own, and here the image's is as new.
RUN npm ci --ignore-scripts
COPY tsconfig.json ./
COPY scripts scripts
COPY src src
RUN node scripts/build.ts --program

FROM node:26.10.0-alpine
RUN addgroup -S -g 10001 columba && adduser -S -D -H -u 10001 -G columba columba \
  && mkdir /data && chown columba:columba /data \
  && rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /opt/yarn*
WORKDIR /columba
COPY --from=build /columba/dist/main.js /columba/dist/pglite.data /columba/dist/*.wasm dist/
COPY --from=build /columba/dist/web dist/web/
# What is in it (CycloneDX): docker run --rm --entrypoint cat columba sbom.cdx.json
COPY --from=build /columba/dist/sbom.cdx.json ./
USER 10001:10001
# Reachable from outside the container, so COLUMBA_API_KEYS must be set. /data is used where DATABASE_URL is not.
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8080 COLUMBA_DATA_DIR=/data COLUMBA_LOG=json
VOLUME /data
EXPOSE 8080
# Alive, not ready: an orchestrator must not restart what only waits for its database.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/healthz`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# It stops in order within 26 s; `docker stop` waits for 10 s unless it is told more.
STOPSIGNAL SIGTERM
ENTRYPOINT ["node", "dist/main.js"]
CMD ["serve"]
