import { DataSourcePlugin } from '@grafana/data';
import { ConfigEditor } from './ConfigEditor';
import { AstrayDataSource } from './datasource';
import { QueryEditor } from './QueryEditor';
import { type AstrayOptions, type AstrayQuery, type AstraySecrets } from './types';

export const plugin = new DataSourcePlugin<AstrayDataSource, AstrayQuery, AstrayOptions, AstraySecrets>(
  AstrayDataSource
)
  .setConfigEditor(ConfigEditor)
  .setQueryEditor(QueryEditor);
