# The image is the static binary and nothing else. Build it with `make image`, which builds the
# binary first; it needs no network and no other image.
FROM scratch
COPY bin/image/cistern /cistern
# The folder is there with its owner, so that a new volume belongs to the user.
COPY --chown=65532:65532 bin/image/data /data
USER 65532:65532
VOLUME /data
EXPOSE 2470 2471
ENV CISTERN_DATA_DIR=/data
HEALTHCHECK --interval=30s --timeout=5s --start-period=2m CMD ["/cistern", "health"]
ENTRYPOINT ["/cistern"]
CMD ["serve"]
