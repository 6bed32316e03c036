"""Pictures that lie elsewhere: s3, gs, https, whatever fsspec reaches."""
